"""Puts the doors of an app in place: checks them, and gives them to the transport."""

from collections.abc import Mapping
from typing import Any

from pipeline import undo
from pipeline.aws.limits import SQS_FIFO_SUFFIX
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.doors import split
from pipeline.doors.extended_sender import ExtendedSender
from pipeline.doors.foreign_message import Door
from pipeline.doors.objects import ObjectDoor
from pipeline.doors.translation import Doors
from pipeline.transport.foreign import OPTION

AnyDoor = Door | ExtendedSender


def check(doors: Mapping[str, AnyDoor], stores: Mapping[str, Any], transport: str = "sqs") -> None:
    """Check the doors that ``pipeline.install`` was given, and that it knows the stores they name.

    Raises:
        ValueError: one is no function, its store is unknown or has no bucket, or the broker is not SQS.
    """
    if doors and transport != "sqs":
        raise ValueError(
            f"doors for {', '.join(map(str, doors))}: expected an sqs:// broker, and this app's is "
            f"{transport}://; leave doors out where another broker is used, such as in tests"
        )
    for queue, door in doors.items():
        if not queue or not (callable(door) or isinstance(door, ExtendedSender)):
            raise ValueError(
                f"doors[{queue!r}]: expected the name of a queue and a function of its messages, such as "
                "pipeline.doors.s3_notifications('tasks.ingest', store='uploads')"
            )
        _check_queue(queue, door)
        if isinstance(door, ObjectDoor | ExtendedSender):
            _check_stores(queue, door, stores)


def _check_queue(queue: str, door: AnyDoor) -> None:
    if isinstance(door, ExtendedSender) and queue.endswith(SQS_FIFO_SUFFIX):
        raise ValueError(f"doors[{queue!r}]: plain messages have no message group; use a standard queue")


def _check_stores(queue: str, door: ObjectDoor | ExtendedSender, stores: Mapping[str, Any]) -> None:
    for alias in door.stores:
        if alias not in stores:
            known = ", ".join(stores) or "none"
            raise ValueError(
                f"doors[{queue!r}]: store {alias!r} is not among the stores of pipeline.install ({known}); "
                f"add stores={{{alias!r}: 's3://bucket/prefix'}}"
            )
        if getattr(door, "has_buckets", True) and getattr(stores[alias], "bucket", None) is None:
            raise ValueError(
                f"doors[{queue!r}]: store {alias!r} has no bucket, and messages name one: use s3://"
            )


def owned(doors: Mapping[str, AnyDoor]) -> frozenset[str]:
    """Return the aliases of the stores whose objects the app deletes."""
    deleting = (door for door in doors.values() if isinstance(door, ObjectDoor) and door.deletes)
    return frozenset(alias for door in deleting for alias in door.stores)


def put_into(app: Any, claimcheck: ClaimCheck, doors: Mapping[str, AnyDoor]) -> None:
    """Give the doors to the app's transport, and the app the task that they need."""
    senders = {queue: door for queue, door in doors.items() if isinstance(door, ExtendedSender)}
    translators = {queue: door for queue, door in doors.items() if not isinstance(door, ExtendedSender)}
    options = {
        **app.conf.broker_transport_options,
        OPTION: Doors(app, claimcheck, translators, senders),
    }
    undo.configure(app, "broker_transport_options", options)
    split.register(app)
    undo.later(app._tasks.pop, split.SPLIT, None)  # noqa: SLF001 - Celery has no public way
