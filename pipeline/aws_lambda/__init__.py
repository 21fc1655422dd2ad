"""AWS Lambda instead of a worker, and the claim check around EventBridge Pipes.

``sqs_handler`` runs a Celery app's tasks from an SQS event source; ``Enrichment`` has the functions *split*
and *retrieve* for pipes, which need neither Celery nor SQS. Each is imported on first use, as a cold start
pays for every module.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.aws_lambda.enrichment import Enrichment
    from pipeline.aws_lambda.handler import sqs_handler

__all__ = ["Enrichment", "sqs_handler"]

_MODULES = {
    "Enrichment": "pipeline.aws_lambda.enrichment",
    "sqs_handler": "pipeline.aws_lambda.handler",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
