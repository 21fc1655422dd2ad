"""Shared by all AWS services: ``session``, ``credentials``, ``limits``, ``error_codes``, ``logs``."""
