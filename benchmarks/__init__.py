"""Measurements: this library beside its peers (``make bench``), and those that decided how it works."""
