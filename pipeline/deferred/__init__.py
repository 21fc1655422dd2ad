"""The deferred body: arguments that are read where and when a task runs."""
