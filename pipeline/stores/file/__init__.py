"""Payloads and records as files: ``store``, ``records``, ``private_files`` (modes 0600 and 0700)."""
