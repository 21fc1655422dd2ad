"""Claim check for Celery: large task arguments go to S3, a small claim travels, and no task knows.

Read next: ``claimcheck.py``, then ``serializer.py`` and ``worker/``, then ``errors.py``.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pipeline.claim import Claim
from pipeline.errors import (
    ClaimError,
    PayloadCorruptError,
    PayloadEncodeError,
    PayloadError,
    PayloadExpiresError,
    PayloadMissingError,
    PayloadReleasedError,
    PayloadTooLargeError,
    PipelineError,
    RevokedWhileWaitingError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
    TaskInProgressError,
)

if TYPE_CHECKING:
    from pipeline.claimcheck import ClaimCheck
    from pipeline.idempotency import idempotent
    from pipeline.installation import install, uninstall
    from pipeline.publisher import batch
    from pipeline.transport.answers import NotRoutedError
    from pipeline.transport.sending import BatchSendError
    from pipeline.worker.retries import MaxRetriesExceededError

    __version__: str

__all__ = [
    "BatchSendError",
    "Claim",
    "ClaimCheck",
    "ClaimError",
    "MaxRetriesExceededError",
    "NotRoutedError",
    "PayloadCorruptError",
    "PayloadEncodeError",
    "PayloadError",
    "PayloadExpiresError",
    "PayloadMissingError",
    "PayloadReleasedError",
    "PayloadTooLargeError",
    "PipelineError",
    "RevokedWhileWaitingError",
    "StoreDeniedError",
    "StoreError",
    "StoreUnavailableError",
    "TaskInProgressError",
    "__version__",
    "batch",
    "idempotent",
    "install",
    "uninstall",
]

_MODULES = {
    "BatchSendError": "pipeline.transport.sending",
    "ClaimCheck": "pipeline.claimcheck",
    "MaxRetriesExceededError": "pipeline.worker.retries",
    "NotRoutedError": "pipeline.transport.answers",
    "batch": "pipeline.publisher",
    "idempotent": "pipeline.idempotency",
    "install": "pipeline.installation",
    "uninstall": "pipeline.installation",
}
"""Where names are that are imported on first use: Kombu loads this package while it is itself being imported,
and most of these need Kombu."""


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name == "__version__":
        return version("celery-claimcheck-pipeline")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
