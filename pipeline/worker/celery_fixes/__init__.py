"""Repairs of Celery: one module each, with the lines of Celery that make it necessary."""
