"""The stack of dashboard and alarms, written from the table of metrics for a list of queues."""
