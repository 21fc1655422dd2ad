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
    from pipeline.installation import install

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
    "install",
]


def __getattr__(name: str) -> Any:
    """Import ``install`` when it is asked for.

    Kombu loads our serializer while it is itself being imported, and ``install`` needs Kombu.
    """
    if name == "install":
        from pipeline.installation import install  # noqa: PLC0415

        return install
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
