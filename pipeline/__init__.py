"""Claim check for Celery: large task arguments go to S3, a small claim travels, and no task knows.

Read next: ``claimcheck.py``, then ``serializer.py`` and ``worker/``, then ``errors.py``.
"""

from typing import TYPE_CHECKING, Any

from pipeline.claim import Claim
from pipeline.errors import (
    ClaimError,
    PayloadCorruptError,
    PayloadEncodeError,
    PayloadError,
    PayloadMissingError,
    PayloadTooLargeError,
    PipelineError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from pipeline.idempotency import idempotent
    from pipeline.installation import install
    from pipeline.publisher import batch

__all__ = [
    "Claim",
    "ClaimError",
    "PayloadCorruptError",
    "PayloadEncodeError",
    "PayloadError",
    "PayloadMissingError",
    "PayloadTooLargeError",
    "PipelineError",
    "StoreDeniedError",
    "StoreError",
    "StoreUnavailableError",
    "batch",
    "idempotent",
    "install",
]


def __getattr__(name: str) -> Any:
    """Import ``install``, ``batch`` and ``idempotent`` when they are asked for.

    Kombu loads our serializer while it is itself being imported, and all three need Kombu.
    """
    if name == "batch":
        from pipeline.publisher import batch  # noqa: PLC0415

        return batch
    if name == "idempotent":
        from pipeline.idempotency import idempotent  # noqa: PLC0415

        return idempotent
    if name == "install":
        from pipeline.installation import install  # noqa: PLC0415

        return install
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
