"""Business tasks: plain functions that Celery makes tasks; none knows how its arguments travel."""
