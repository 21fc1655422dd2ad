"""The door for S3's event notifications: sent to the queue by S3, or through SNS or EventBridge.

``s3_events`` reads the messages.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from urllib.parse import unquote, unquote_plus
from uuid import UUID, uuid5

from pipeline.claimcheck.keys import object_task_id
from pipeline.doors.foreign_message import ForeignMessage, TaskCall
from pipeline.doors.objects import ObjectDoor, object_handle
from pipeline.doors.s3_events import S3Event, events_in


def _as_it_is(key: str) -> str:
    return key


KEYS: Mapping[str, Callable[[str], str]] = {
    "aws": partial(unquote_plus, errors="strict"),
    "minio": partial(unquote, errors="strict"),
    "ceph": _as_it_is,
}
"""How keys are written in notifications: S3 encodes them as a form does, so ``+`` is a space."""

Ids = Callable[[str, ForeignMessage, S3Event], str | None]

TASK_IDS: Mapping[str, Ids] = {
    "message": lambda _store, _message, _event: None,
    "object": lambda store, _message, event: object_task_id(store, event.key),
    "event": lambda store, message, event: _event_task_id(store, message.queue, event),
}
"""What the ids of tasks follow from: an alias, the message, and the event in it."""

_NAMESPACE = UUID("d1c1f6a4-2f43-5d0e-8a7b-6e0f5b9c4a21")
"""Namespace of the ids of tasks; any UUID that stays the same."""


def _event_task_id(store: str, queue: str, event: S3Event) -> str | None:
    """Return the id of an event's task on a queue; None if S3 has not numbered the event."""
    found = event.object
    named = f"{queue} {store}/{event.key} {found.version or ''} {found.sequencer}"
    return None if found.sequencer is None else str(uuid5(_NAMESPACE, named))


def s3_notifications(task: str, *, store: str, keys: str = "aws", task_ids: str = "message") -> ObjectDoor:
    """Return a door for S3's event notifications, also wrapped by SNS or EventBridge.

    Each record becomes a call ``task(handle, event)``. ``handle`` is a ``pipeline.Handle`` with size,
    ETag and version as far as S3 names them. ``event`` is a dict with ``name``, ``time`` and ``sequencer``.
    ``s3:TestEvent`` is deleted. A record of another bucket or prefix is malformed.

    Args:
        task: name of the task.
        store: alias of the store that the objects are in, among ``stores`` of ``pipeline.install``.
        task_ids: what the ids of tasks follow from: ``message``; ``event``: then an event that S3 notifies of
            twice has one id, also after a redrive; or ``object``: then whoever has stored an object of a new
            key knows the id, by ``pipeline.claimcheck.keys.object_task_id``.
        keys: who writes the keys: ``aws``, ``minio`` (a ``+`` is a plus) or ``ceph`` (nothing is encoded).

    Raises:
        ValueError: ``keys`` or ``task_ids`` is none of these.
    """
    _check("keys", keys, KEYS)
    _check("task_ids", task_ids, TASK_IDS)
    return ObjectDoor((store,), partial(_calls, task, store, KEYS[keys], TASK_IDS[task_ids]))


def _check(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(known)}")


def _calls(
    task: str,
    store: str,
    key: Callable[[str], str],
    ids: Ids,
    message: ForeignMessage,
) -> Iterable[TaskCall]:
    for event in events_in(message.body, key):
        found = event.object
        fields = {"size_bytes": found.size, "etag": found.etag, "version": found.version}
        handle = object_handle(store, {"key": event.key, **fields}, event.bucket)
        about = {"name": event.name, "time": event.time, "sequencer": found.sequencer}
        yield TaskCall(task, [handle, about], task_id=ids(store, message, event))
