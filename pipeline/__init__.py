"""Claim check for Celery: large task arguments go to S3, a small claim travels, and tasks do not change.

The layers, the top one first. A module imports from its own package and from lower layers alone, and a
package imports no other of these vendors: ``tests/unit/test_architecture.py`` reads both from this table.

============  =============================  ================================================================
name          vendors                        what it holds
============  =============================  ================================================================
__main__                                     ``python -m pipeline``
------------  -----------------------------  ----------------------------------------------------------------
cli           celery                         the ``pipeline`` command: options and output
------------  -----------------------------  ----------------------------------------------------------------
admin         celery kombu botocore          operator actions: doctor, dead letters, sweep, provision, top
aws_lambda    celery kombu billiard          AWS Lambda instead of a worker, and enrichments of pipes
gateway       celery starlette               a web service: presigned uploads and reads, task states, a page
local         moto                           a local AWS: moto's server
testing       celery kombu                   for tests of applications: doubles of stores, an app in memory
------------  -----------------------------  ----------------------------------------------------------------
installation  celery kombu                   ``install`` and ``uninstall``
------------  -----------------------------  ----------------------------------------------------------------
doors         celery                         messages of other systems become task calls
------------  -----------------------------  ----------------------------------------------------------------
events        botocore                       publishes to SNS and EventBridge: large values are claims
publisher     celery kombu                   Celery's producing end, batches of tasks, remote control
worker        celery kombu billiard          Celery's consuming end: from a message to the end of its task
backend       celery                         the result backend
idempotency   celery kombu                   ``@idempotent``
------------  -----------------------------  ----------------------------------------------------------------
serializer    kombu                          Kombu's serializer: inline or offloaded is decided here
transport     kombu botocore                 the SQS transport: receive, send, acknowledge, fanout over SNS
------------  -----------------------------  ----------------------------------------------------------------
results       celery                         how a result travels, and how it is read
------------  -----------------------------  ----------------------------------------------------------------
app_settings                                 arguments of ``install`` as settings of the Celery app
deferred      celery                         arguments that are read where and when a task runs
time_chain                                   limits and lifetimes that must hold together
------------  -----------------------------  ----------------------------------------------------------------
claimcheck                                   the pattern: claim, codec, compression, offload and rehydrate
------------  -----------------------------  ----------------------------------------------------------------
stores        boto3 botocore                 where payloads are kept: S3, DynamoDB, files, memory
metrics       boto3 botocore opentelemetry   metrics, and the sinks that deliver them
------------  -----------------------------  ----------------------------------------------------------------
telemetry     opentelemetry                  log lines and spans
errors                                       all errors
options                                      options of an application
undo                                         changes of ``install``, for ``uninstall``
------------  -----------------------------  ----------------------------------------------------------------
aws           botocore                       sessions, limits and error codes of AWS
============  =============================  ================================================================
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.errors import (
    ClaimError,
    EventSendError,
    MalformedError,
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
    from pipeline.claimcheck.claim import Claim
    from pipeline.claimcheck.claim_check import ClaimCheck
    from pipeline.claimcheck.handles.handle import Handle
    from pipeline.claimcheck.handles.putting import put
    from pipeline.claimcheck.sharing import shared
    from pipeline.idempotency.decorator import idempotent
    from pipeline.installation import install, uninstall
    from pipeline.publisher.batches import batch
    from pipeline.transport.errors import NotRoutedError
    from pipeline.transport.send.batch_error import BatchSendError
    from pipeline.worker.celery_fixes.max_retries import MaxRetriesExceededError

    __version__: str

__all__ = [
    "BatchSendError",
    "Claim",
    "ClaimCheck",
    "ClaimError",
    "EventSendError",
    "Handle",
    "MalformedError",
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
    "put",
    "shared",
    "uninstall",
]

_MODULES = {
    "BatchSendError": "pipeline.transport.send.batch_error",
    "Claim": "pipeline.claimcheck.claim",
    "ClaimCheck": "pipeline.claimcheck.claim_check",
    "Handle": "pipeline.claimcheck.handles.handle",
    "MaxRetriesExceededError": "pipeline.worker.celery_fixes.max_retries",
    "NotRoutedError": "pipeline.transport.errors",
    "batch": "pipeline.publisher.batches",
    "idempotent": "pipeline.idempotency.decorator",
    "install": "pipeline.installation",
    "put": "pipeline.claimcheck.handles.putting",
    "shared": "pipeline.claimcheck.sharing",
    "uninstall": "pipeline.installation",
}
"""Where names are that are imported on first use: Kombu loads this package while it is itself being imported,
and most of these need Kombu. The others need libraries that a process may never use."""


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - takes longer than all the rest

        return version("celery-claimcheck-pipeline")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
