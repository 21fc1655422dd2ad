"""Translates foreign messages into the messages of tasks, in a worker's main process.

The transport asks for it where it unpacks what SQS delivers (``transport/foreign.py``). What it gets is the
message of a task, so acknowledgement, heartbeat, dead letters, release, metrics and monitors are those of
every task. The arguments travel in the library's own form, so that an app with a ``signing_key``, which
accepts no other, runs what its doors let in.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import UUID, uuid5

from pipeline.claimcheck.claim import CONTENT_TYPE
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.handles.stores import owned_store
from pipeline.claimcheck.headers import REMOVES, SEE_ARGS
from pipeline.doors.extended_sender import ExtendedSender
from pipeline.doors.foreign_message import Door, ForeignMessage, TaskCall
from pipeline.doors.objects import ObjectDoor
from pipeline.doors.split import SPLIT
from pipeline.errors import ClaimError, MalformedError, PayloadEncodeError, PipelineError, StoreDeniedError
from pipeline.serializer.encoding import Encoding
from pipeline.serializer.publication import Publication
from pipeline.telemetry import log_lines
from pipeline.transport.envelope import Envelope
from pipeline.transport.foreign import Translation

logger = log_lines.logger(__name__)

CALLS_LIMIT = 1_000
"""Most calls of one message: translating it blocks the event loop."""

REASON_LIMIT_CHARACTERS = 500
"""Longest reason that a door may give: each rejection logs it."""

_NAMESPACE = UUID("5f0b2a52-6a1c-5c58-9d5b-0d3c5f3b7d11")
"""Namespace of the ids of tasks; any UUID that stays the same."""


@dataclass(frozen=True, slots=True)
class Doors:
    """The doors of an app, by queue. A ``pipeline.transport.foreign.Translator``."""

    app: Any
    claimcheck: ClaimCheck
    by_queue: Mapping[str, Door] = field(default_factory=dict)
    senders: Mapping[str, ExtendedSender] = field(default_factory=dict)
    """What sends to queues whose consumers know no Celery."""

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the queues."""
        return iter(self.by_queue)

    def __contains__(self, queue: str) -> bool:
        """Return whether a queue has a door."""
        return queue in self.by_queue

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave functions behind where the app is pickled to spawned pool children: they only send."""
        return Doors, (None, None, {}, self.senders)

    def __repr__(self) -> str:
        """Name the queues: ``celery report`` and ``inspect conf`` show transport options."""
        return f"Doors({', '.join(self.by_queue)})"

    def sender(self, queue: str) -> ExtendedSender | None:
        """Return what sends plain messages to a queue instead of tasks, or ``None``."""
        return self.senders.get(queue)

    def admits(self, queue: str, task: str) -> bool:
        """Return whether a message of Celery may go past a door; a worker checks by itself what is signed."""
        options, only = self.claimcheck.options, getattr(self.by_queue[queue], "only", None)
        is_checked = options.signing_key is not None and not options.accept_unsigned
        return only is None or only == task or is_checked

    def removed(self, queue: str, named: Any) -> Handle | None:
        """Return the object that a header names, if the queue's door may delete it. Does no I/O."""
        door = self.by_queue[queue]
        try:
            handle = Handle.from_dict(named)
            owned_store(self.claimcheck, handle)
        except (ClaimError, StoreDeniedError):
            return None
        is_foreign = isinstance(door, ObjectDoor) and not (door.deletes and handle.store in door.stores)
        return None if is_foreign else handle

    def translate(self, queue: str, sqs_message: Mapping[str, Any]) -> Translation:
        """Return what the queue's door makes of a message. Never raises."""
        try:
            return self._translated(queue, sqs_message)
        except MalformedError as exc:
            return Translation(fault=f"malformed: {exc}"[:REASON_LIMIT_CHARACTERS])
        except PayloadEncodeError:
            # Its text has the path of a value, which is text of the message.
            return Translation(fault="malformed: it nests too deep, or holds what no argument can be")
        except PipelineError as exc:
            return Translation(fault=f"not translated: {exc}")
        except Exception as exc:  # noqa: BLE001 - a door is anybody's code
            return Translation(fault=f"its door raised {type(exc).__name__}")

    def _translated(self, queue: str, sqs_message: Mapping[str, Any]) -> Translation:
        message = _foreign(queue, sqs_message)
        calls = list(islice(self.by_queue[queue](message), CALLS_LIMIT + 1))
        if len(calls) > CALLS_LIMIT:
            raise MalformedError(f"it holds more than {CALLS_LIMIT:,} task calls; send several messages")
        if not calls:
            return Translation(is_empty=True)
        call = calls[0] if len(calls) == 1 else _split(message, calls)
        return Translation(self._envelope(call, _id_of(message, call, 0), sqs_message))

    def _envelope(self, call: TaskCall, task_id: str, sqs_message: Mapping[str, Any]) -> Envelope:
        made = self.app.amqp.as_task_v2(
            task_id, call.task, list(call.args), dict(call.kwargs), argsrepr=SEE_ARGS, kwargsrepr=SEE_ARGS
        )
        encoded = Encoding(self.claimcheck, Publication(task=call.task, task_id=task_id)).inline(made.body)
        group = (sqs_message.get("Attributes") or {}).get("MessageGroupId")
        return {
            "body": encoded.data,
            "content-type": CONTENT_TYPE,
            "content-encoding": "binary",
            "headers": {**made.headers, **encoded.headers, **_headers(call)},
            "properties": {**made.properties, **({"MessageGroupId": group} if group else {})},
        }


def _foreign(queue: str, sqs_message: Mapping[str, Any]) -> ForeignMessage:
    given = sqs_message.get("MessageAttributes") or {}
    attributes = {name: _value(each) for name, each in given.items()}
    return ForeignMessage(sqs_message["Body"], attributes, sqs_message["MessageId"], queue)


def _value(attribute: Mapping[str, Any]) -> str | bytes:
    value: str | bytes = attribute.get("StringValue") or attribute.get("BinaryValue") or ""
    return value


def _split(message: ForeignMessage, calls: Sequence[TaskCall]) -> TaskCall:
    """Return the call of the task that publishes each of several calls as a message of its own."""
    each = [
        [_id_of(message, call, place), call.task, list(call.args), dict(call.kwargs), _headers(call)]
        for place, call in enumerate(calls)
    ]
    return TaskCall(SPLIT, [each], task_id=_id(message, "split"))


def _headers(call: TaskCall) -> dict[str, Any]:
    return {} if call.deletes is None else {REMOVES: call.deletes.as_dict()}


def _id_of(message: ForeignMessage, call: TaskCall, place: int) -> str:
    return call.task_id or _id(message, str(place))


def _id(message: ForeignMessage, what: str) -> str:
    return str(uuid5(_NAMESPACE, f"{message.id} {what}"))
