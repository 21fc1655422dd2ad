"""Who takes part, and what each one leaves to its user."""

from collections.abc import Sequence
from dataclasses import dataclass

CELERY = "benchmarks.peers.celery_app"
LOOPS = "benchmarks.peers.loops"


@dataclass(frozen=True)
class Peer:
    """One way to bring arguments to a worker."""

    name: str
    module: str
    """Has ``together``, ``one`` and ``consume``."""
    what: str
    lacks: str
    uses_redis: bool = False
    releases: bool = True
    """It deletes payloads."""
    is_native: bool = False
    """It takes bytes and arrays as they are."""


PEERS: Sequence[Peer] = (
    Peer(
        "this",
        CELERY,
        "`pipeline.install` with its defaults and the extra `obstore`, without metrics",
        "needs a bucket beside the queue; a task above 256 KiB waits for S3 when it is published and when it"
        " starts; does not run exactly once",
        is_native=True,
    ),
    Peer(
        "this, reading ahead",
        CELERY,
        "the same with `read_ahead_bytes=67_108_864`: payloads come while their messages wait",
        "as above; and keeps payloads of waiting messages in memory on the worker",
        is_native=True,
    ),
    Peer(
        "naive serializer",
        CELERY,
        "a Kombu serializer that puts bodies above 256 KiB into S3, on Kombu's SQS transport",
        "deletes no payload; reads each twice, once in the worker's main process; loses a task when S3"
        " does not answer; and what stock Celery on SQS does not do",
        releases=False,
    ),
    Peer(
        "stock Celery on SQS",
        CELERY,
        "Celery and Kombu as they are; 300 KB of text fit into a message",
        "sends no more than 586 KB of encoded arguments; sends and deletes messages one by one; does not"
        " extend visibility timeouts; loses messages that a worker cannot read",
    ),
    Peer(
        "Celery on Redis",
        CELERY,
        "Celery with Redis as broker; arguments travel in the message",
        "keeps all waiting arguments in memory, in base64; loses them with Redis, unless it writes to disk"
        " or is replicated; has no dead-letter queue; Redis is billed by the hour",
        uses_redis=True,
    ),
    Peer(
        "AWS's extended client",
        LOOPS,
        "`amazon-sqs-extended-client` in a loop: receive ten, run, delete ten with their payloads",
        "is not for Celery: no task names, retries, routing, time limits, monitoring, types; reads ten"
        " payloads before the first runs; deletes a payload before its message, so an error in between"
        " loses it; does not extend visibility timeouts",
    ),
    Peer(
        "floor",
        LOOPS,
        "boto3 in the same loop: one PUT and one GET for each payload, all else in tens",
        "has no checks and no retries, and nothing that a task queue has",
    ),
)

NAMED = {peer.name: peer for peer in PEERS}
