"""What a body weighs on SQS: Kombu's own transport against ours, from what SQS is handed."""

import json
import random
from collections.abc import Iterator
from typing import Any, Self

from kombu import Connection, Queue
from kombu.transport.SQS import Channel as KombusChannel

from benchmarks.measure import markdown, records
from pipeline.claimcheck.codec import Codec
from pipeline.serializer.serializer import KOMBU_TYPES
from pipeline.transport import Channel

BODY_BYTES = 200_000
QUEUE = "https://sqs/q"


class _Client:
    """SQS that weighs what it is sent."""

    def __init__(self) -> None:
        self.sent_bytes = 0

    def __getattr__(self, name: str) -> Any:
        attributes = {"ApproximateNumberOfMessages": "0"}
        return lambda **_: {"QueueUrl": QUEUE, "QueueUrls": [QUEUE], "Attributes": attributes}

    def send_message(self, **options: Any) -> None:
        self.sent_bytes = len(options["MessageBody"].encode())


def _weighed(kind: type[KombusChannel], body: Any, how: dict[str, str]) -> int:
    client = _Client()

    class Weighing(kind):  # type: ignore[misc, valid-type]
        def sqs(self: Self, queue: str | None = None) -> _Client:  # noqa: ARG002
            return client

    transport = "pipeline.transport:Transport" if kind is Channel else "sqs"
    with Connection(transport=transport) as connection:
        channel = Weighing(connection.transport)
        producer = connection.Producer(channel=channel)
        producer.publish(body, routing_key="q", declare=[Queue("q")], **how)
    return client.sent_bytes


def _bodies() -> Iterator[tuple[str, int, Any, dict[str, str]]]:
    """Yield a name, the bytes of the body, the body, and how it is published."""
    rows, noise = records(800), random.Random(1).randbytes(BODY_BYTES)
    packed = Codec(KOMBU_TYPES).encode(rows)[1]
    claimcheck = {"content_type": "application/x-claimcheck", "content_encoding": "binary"}
    yield "claim check: records, MessagePack", len(packed), packed, claimcheck
    yield "claim check: bytes that do not compress", len(noise), noise, claimcheck
    for name, value in (("json: records", rows), ("json: numbers", list(range(40_000)))):
        yield name, len(json.dumps(value)), value, {"serializer": "json"}


def table() -> str:
    """Return the factors, as Markdown."""
    rows = []
    for name, size_bytes, body, how in _bodies():
        weights = [_weighed(kind, body, how) for kind in (KombusChannel, Channel)]
        rows.append((name, f"{size_bytes:,}", *(f"{weight / size_bytes:.2f}" for weight in weights)))
    return markdown(("body", "bytes", "Kombu 5.7", "here"), rows)
