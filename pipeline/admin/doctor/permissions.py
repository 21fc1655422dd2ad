"""Tests the permissions of a queue with calls that have no effect.

Each call has an invalid parameter. A caller without permission gets an access error, a caller with permission
an error about the parameter. No message is received, hidden, deleted or sent. Not verified on AWS: whether
SQS checks the permission first. The local stand-ins check no permissions.
"""

from collections.abc import Iterator
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from pipeline.aws.limits import SQS_BATCH_COUNT, SQS_DELAY_LIMIT_SECONDS
from pipeline.transport.queues import Queue, asked
from pipeline.transport.sqs_errors import DENIED, meaning_of

_PROBES: dict[str, dict[str, Any]] = {
    "ReceiveMessage": {"MaxNumberOfMessages": SQS_BATCH_COUNT + 1},
    "DeleteMessage": {"ReceiptHandle": "claimcheck"},
    "ChangeMessageVisibility": {"ReceiptHandle": "claimcheck", "VisibilityTimeout": 0},
    "SendMessage": {"MessageBody": "\x01", "DelaySeconds": SQS_DELAY_LIMIT_SECONDS + 1},  # not allowed in XML
}


def denied(queue: Queue) -> Iterator[str]:
    """Yield the actions on a queue that a worker needs and this process is denied.

    Raises:
        QueueError: SQS did not answer, or failed.
    """
    for call, parameters in _PROBES.items():
        with asked(queue.name, call):
            if _is_denied(queue, call, parameters):
                yield f"sqs:{call}"


def _is_denied(queue: Queue, call: str, parameters: dict[str, Any]) -> bool:
    try:
        getattr(queue.client, xform_name(call))(QueueUrl=queue.url, **parameters)
    except ClientError as exc:
        if meaning_of(exc).is_transient:
            raise
        return meaning_of(exc) is DENIED
    return False
