"""Celery's producing end: publishes tasks, alone or in batches, and sends remote control commands."""
