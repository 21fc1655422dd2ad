"""Proxies between clients and the servers that stand in for AWS and Redis.

Tests break things with them, and benchmarks count and delay: ``proxy`` is for HTTP, ``delaying`` for any
bytes. ``link`` is one connection, ``messages`` has heads and bodies, ``requests`` names operations.
"""

from benchmarks.proxy.proxy import Proxy

__all__ = ["Proxy"]
