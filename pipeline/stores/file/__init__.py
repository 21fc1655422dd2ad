"""Payloads and records as files below one directory."""
