"""Digests by which tests compare the values that tasks received."""

import hashlib

from kombu.utils.json import dumps


def fingerprint(value):
    """Return a digest of a value that is equal for equal values."""
    return hashlib.sha256(dumps(value, default_kwargs={"sort_keys": True}).encode()).hexdigest()
