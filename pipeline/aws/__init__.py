"""Shared by all AWS services: ``session``, ``limits``, ``error_codes``, ``logs`` (log levels)."""
