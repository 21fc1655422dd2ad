"""The door for messages of an SNS topic: raw, or wrapped in SNS's notification."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid5

import msgspec

from pipeline.doors.foreign_message import ForeignMessage, TaskCall
from pipeline.doors.objects import ObjectDoor
from pipeline.errors import MalformedError
from pipeline.events import content

_NAMESPACE = UUID("0c3a9d53-6a3c-5b0e-9c51-5c7d8f3d5d1a")
"""Namespace of the ids of tasks; any UUID that stays the same."""


class _Attribute(msgspec.Struct):
    value: str = msgspec.field(name="Value")


class _Wrapping(msgspec.Struct):
    """What of a notification is read."""

    kind: str = msgspec.field(name="Type")
    id: str = msgspec.field(name="MessageId")
    message: str = msgspec.field(name="Message")
    attributes: dict[str, _Attribute] = msgspec.field(name="MessageAttributes", default_factory=dict)


_decode = msgspec.json.Decoder(_Wrapping).decode


def sns(
    task: str, *, attributes: Sequence[str] = (), raw: bool = False, stores: Sequence[str] = ()
) -> ObjectDoor:
    """Return a door for a queue that is subscribed to a topic.

    Each message becomes a call ``task(value)``, whether ``pipeline.events.Topic`` has published the
    value itself or its claim; of another publisher's message the value is its JSON. What was published as a
    handle arrives as a handle. A message that SNS delivers twice has one task id.

    Args:
        task: name of the task.
        attributes: names of message attributes that it gets as keyword arguments, as text, if they are there.
        raw: whether the subscription has raw delivery.
        stores: aliases of further stores, among ``stores`` of ``pipeline.install``, that handles may name.
    """
    read = _raw if raw else _wrapped
    translate = partial(_calls, task, tuple(attributes), tuple(stores), read)
    return ObjectDoor(tuple(stores), translate, has_buckets=False, only=task if raw else None)


def _calls(
    task: str, names: Sequence[str], stores: tuple[str, ...], read: Any, message: ForeignMessage
) -> Iterable[TaskCall]:
    text, attributes, name = read(message)
    found = content.read(text, stores)
    kwargs = {each: attributes[each] for each in names if each in attributes}
    return [TaskCall(task, [found.argument], kwargs, task_id=task_id(found.id or name, message.queue))]


def _raw(message: ForeignMessage) -> tuple[str, Mapping[str, Any], str]:
    return message.body, message.attributes, ""


def _wrapped(message: ForeignMessage) -> tuple[str, Mapping[str, Any], str]:
    try:
        found = _decode(message.body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise MalformedError(
            f"it is no notification of SNS: {exc}; for a subscription with raw delivery give raw=True"
        ) from None
    if found.kind != "Notification":
        raise MalformedError("it is no notification of SNS: its 'Type' is another")
    return found.message, {name: each.value for name, each in found.attributes.items()}, found.id


def task_id(event: str, queue: str) -> str | None:
    """Return the id of an event's task: the same for each copy of the event on a queue."""
    return str(uuid5(_NAMESPACE, f"{event} {queue}")) if event else None
