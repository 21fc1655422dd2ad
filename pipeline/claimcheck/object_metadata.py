"""Metadata of a payload's object, for people who browse the bucket: digest, task and trace."""

from string import punctuation
from urllib.parse import quote

from pipeline.telemetry import tracing

METADATA_CHARACTERS = 512
"""Longest value of an object's metadata: S3 takes 2 KB of names and values in all. Source: S3 user guide."""


def metadata(digest: str, task: str, task_id: str) -> dict[str, str]:
    """Return the metadata of a payload that is about to be put, the active trace context among it."""
    known = {"task": task, "task-id": task_id, **tracing.metadata()}
    return {"digest": digest} | {name: _sendable(text) for name, text in known.items()}


def _sendable(text: str) -> str:
    """Return a text as S3 takes it in an HTTP header: ``%0A`` for a line break, ``%C3%A9`` for ``é``."""
    return quote(text, safe=punctuation, errors="surrogatepass")[:METADATA_CHARACTERS]
