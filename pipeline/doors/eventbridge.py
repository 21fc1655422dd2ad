"""The door for events that a rule of EventBridge sends to a queue."""

from collections.abc import Iterable, Sequence
from functools import partial

import msgspec

from pipeline.doors.foreign_message import ForeignMessage, TaskCall
from pipeline.doors.objects import ObjectDoor
from pipeline.doors.sns import task_id
from pipeline.errors import MalformedError
from pipeline.events import content

FIELDS = ("id", "source", "detail_type", "time", "account", "region", "resources", "replay_name")
"""What a task may get of an event beside its detail."""


class _Event(msgspec.Struct, rename=lambda name: name.replace("_", "-")):
    """An event. Source: EventBridge User Guide, "Events reference"."""

    id: str
    source: str
    detail_type: str
    detail: msgspec.Raw
    time: str | None = None
    account: str | None = None
    region: str | None = None
    resources: list[str] | None = None
    replay_name: str | None = None
    """Name of the replay, if it comes from an archive."""


_decode = msgspec.json.Decoder(_Event).decode


def eventbridge(
    task: str, *, fields: Sequence[str] = (), bare: bool = False, stores: Sequence[str] = ()
) -> ObjectDoor:
    """Return a door for a queue that is the target of a rule.

    Each event becomes a call ``task(detail)``, whether ``pipeline.events.EventBus`` has put the detail
    itself or its claim on the bus. What was put as a handle arrives as a handle. An event that EventBridge
    delivers twice has one task id, and each replay of it another.

    Args:
        task: name of the task.
        fields: what it gets of the event as keyword arguments: ``id``, ``source``, ``detail_type``, ``time``,
            ``account``, ``region``, ``resources``, ``replay_name``. A missing one is None.
        bare: whether the rule sends the detail alone (``InputPath``: ``$.detail``); then there are no fields.
        stores: aliases of further stores, among ``stores`` of ``pipeline.install``, that handles may name.

    Raises:
        ValueError: a field has another name, or the detail is to come alone.
    """
    unknown = [name for name in fields if name not in FIELDS]
    if unknown or (bare and fields):
        raise ValueError(f"fields={list(fields)!r}: expected some of {', '.join(FIELDS)}, and none with bare")
    translate = partial(_bare, task) if bare else partial(_calls, task, tuple(fields))
    only = task if bare else None
    return ObjectDoor(tuple(stores), partial(translate, tuple(stores)), has_buckets=False, only=only)


def _bare(task: str, stores: tuple[str, ...], message: ForeignMessage) -> Iterable[TaskCall]:
    found = content.read(message.body, stores)
    return [TaskCall(task, [found.argument], task_id=task_id(found.id, message.queue))]


def _calls(
    task: str, names: Sequence[str], stores: tuple[str, ...], message: ForeignMessage
) -> Iterable[TaskCall]:
    try:
        event = _decode(message.body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise MalformedError(f"it is no event of EventBridge: {exc}") from None
    found = content.read(bytes(event.detail).decode(), stores)
    kwargs = {name: getattr(event, name) for name in names}
    name = f"{event.id} {event.replay_name or ''}"
    return [TaskCall(task, [found.argument], kwargs, task_id=task_id(name, message.queue))]
