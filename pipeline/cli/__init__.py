"""The ``pipeline`` command: what it asks, what it prints, and its exit code."""
