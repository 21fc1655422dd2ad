"""Business tasks: plain Celery tasks, independent of how their arguments are sent."""
