"""Sinks: ``cloudwatch``, ``emf`` (log lines), ``otel``; ``cloudwatch_names`` checks names."""
