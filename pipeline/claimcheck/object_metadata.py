"""What people are shown of a payload: the metadata of its object, and the attributes of spans."""

from string import punctuation
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from pipeline.telemetry import tracing

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import Released

METADATA_CHARACTERS = 512
"""Longest value of an object's metadata: S3 takes 2 KB of names and values in all. Source: S3 user guide."""


class TaskLabels(NamedTuple):
    """The task that a payload is for, as people and monitors see it; empty where it is not known."""

    task: str = ""
    task_id: str = ""
    queue: str = ""


def metadata(digest: str, labels: TaskLabels) -> dict[str, str]:
    """Return the metadata of a payload that is about to be put, the active trace context among it."""
    known = {"task": labels.task, "task-id": labels.task_id, **tracing.metadata()}
    return {"digest": digest} | {name: _sendable(text) for name, text in known.items()}


def span_attributes(
    store: object, claim: "Released", task_id: str, task: str, queue: str
) -> tracing.Attributes:
    """Return a span's attributes for a payload; ``aws.s3.*`` only if the store has a bucket."""
    bucket: str | None = getattr(store, "bucket", None)
    return {
        "messaging.destination.name": queue,
        "messaging.message.id": task_id,
        "messaging.message.body.size": claim.expanded_bytes,
        "celery.task_name": task,
        "aws.s3.bucket": bucket,
        "aws.s3.key": claim.key if bucket else None,
        "claimcheck.key": claim.key,
        "claimcheck.stored_bytes": claim.size_bytes,
    }


def _sendable(text: str) -> str:
    """Return a text as S3 takes it in an HTTP header: ``%0A`` for a line break, ``%C3%A9`` for ``é``."""
    return quote(text, safe=punctuation, errors="surrogatepass")[:METADATA_CHARACTERS]
