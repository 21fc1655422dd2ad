"""Reads payloads of waiting messages ahead, in a process of its own, while the pool's processes are busy."""

from pipeline.worker.read_ahead.asking import ReadAhead, follow

__all__ = ["ReadAhead", "follow"]
