"""Arguments that are read where and when a task runs.

``body`` is what a decoder returns. ``payload`` reads it on first use. ``running`` knows the task that runs in
this process, and ``child_pipe`` carries reports from there to the worker's main process.
"""
