"""What ``pipeline doctor`` checks: settings, queues, store."""
