"""The records of an SQS event, as SQS itself would deliver them to a worker.

Lambda writes the names of fields in lower camel case, some tools of AWS in SQS's own case, and the values of
binary attributes in Base64. Both cases are read.
Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", "Example standard queue message event";
SQS API Reference, Message, MessageAttributeValue.
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]

_ENCODED = frozenset({"BinaryValue", "BinaryListValues"})


@dataclass(frozen=True, slots=True)
class Arn:
    """Which queue a record comes from."""

    account: str
    name: str
    """SQS's own name."""

    @classmethod
    def of(cls, record: Record) -> "Arn":
        """Return the queue of a record.

        Raises:
            ValueError: it is no record of an SQS event source.
        """
        parts = str(field(record, "eventSourceARN")).split(":")
        if len(parts) != 6 or parts[2] != "sqs":  # noqa: PLR2004 - arn:aws:sqs:region:account:name
            raise ValueError(
                f"event not read: its record is of {field(record, 'eventSource')!r}, and this handler takes "
                "those of an SQS event source mapping; give the function a queue as its event source"
            )
        return cls(account=parts[4], name=parts[5])


def field(record: Record, name: str) -> Any:
    """Return a field by its name in lower camel case, ``None`` if it is in neither case there."""
    found = record.get(name)
    return record.get(_as_sqs(name)) if found is None else found


def sqs_message(record: Record) -> dict[str, Any]:
    """Return the message in a record as boto3's ``receive_message`` returns it."""
    attributes: Mapping[str, Mapping[str, Any]] = field(record, "messageAttributes") or {}
    return {
        "MessageId": str(field(record, "messageId") or ""),
        "ReceiptHandle": str(field(record, "receiptHandle") or ""),
        "Body": str(field(record, "body") or ""),
        "Attributes": dict(field(record, "attributes") or {}),
        "MessageAttributes": {name: _attribute(value) for name, value in attributes.items()},
    }


def age_seconds(record: Record, now: float) -> float:
    """Return how long ago SQS delivered a message, 0 if that is not known: it is for a first delivery alone.

    Lambda may keep a message for minutes, while it waits for others or for a free instance of the function.

    Args:
        record: of the event.
        now: seconds since the epoch.
    """
    attributes = field(record, "attributes") or {}
    since = str(attributes.get("ApproximateFirstReceiveTimestamp"))
    is_first = attributes.get("ApproximateReceiveCount") == "1"
    return max(now - int(since) / 1_000, 0.0) if is_first and since.isdecimal() else 0.0


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    named = {_as_sqs(name): each for name, each in value.items()}
    return {name: _decoded(each) if name in _ENCODED else each for name, each in named.items()}


def _decoded(value: Any) -> Any:
    return b64decode(value) if isinstance(value, str) else [b64decode(each) for each in value or ()]


def _as_sqs(name: str) -> str:
    return name[:1].upper() + name[1:]
