"""The producer's end of Celery: gives the serializer its context, and releases what is not published.

Celery makes every task message in its ``AMQP`` object, which an app chooses with ``amqp_cls``. Its
methods that turn arguments into a message and that send it are extended here.
Source: celery 5.7.0, ``app/amqp.py``.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from celery.app.amqp import task_message
from kombu.common import Broadcast
from kombu.entity import Queue
from kombu.transport.virtual.exchange import STANDARD_EXCHANGE_TYPES

from pipeline import time_chain
from pipeline.claimcheck.headers import SHARED, id_text
from pipeline.claimcheck.message_size import Envelope
from pipeline.deferred import running
from pipeline.deferred.body import DeferredArgs, DeferredKwargs
from pipeline.publisher.batches import batch_of
from pipeline.publisher.checks import check_links, check_signed, warn_of_overwritten_serializer
from pipeline.publisher.unsent import abandon, leave_earlier
from pipeline.serializer import serializer
from pipeline.serializer.publication import Publication, publishing
from pipeline.telemetry import delivery_info, tracing
from pipeline.transport.addressing import check_labels
from pipeline.transport.delay import remaining_seconds
from pipeline.transport.send.collecting import ProducerPool, collecting, producers

if TYPE_CHECKING:
    from celery.app.amqp import AMQP
else:
    AMQP = object  # what stands in front of a class is not one of its kind

Sender = Callable[..., Any]

_IDS = ("id", "uuid", "root_id", "parent_id", "group", "taskset", "correlation_id")
"""Where a message has the ids of tasks and groups: in its headers, its properties and its event."""


class PublisherMixin(AMQP):
    """Extends a Celery ``AMQP`` class. Runs in any process that publishes tasks."""

    _producer_pool: ProducerPool | None

    def as_task_v2(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any
    ) -> task_message:
        """Make the message of a task; a running task may pass its own deferred arguments on.

        Raises:
            TypeError: a callback is no signature, or an argument is of a type that Celery does not take.
        """
        args, kwargs = _plain(args, kwargs)
        message = super().as_task_v2(task_id, name, args, kwargs, *rest, **options)
        return _checked(name, message, message.body[2])

    def as_task_v1(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any
    ) -> task_message:
        """Make the message of a task in protocol 1, as :meth:`as_task_v2` does."""
        args, kwargs = _plain(args, kwargs)
        message = super().as_task_v1(task_id, name, args, kwargs, *rest, **options)
        return _checked(name, message, message.body)

    def _create_task_sender(self) -> Sender:
        send: Sender = super()._create_task_sender()
        scheme = time_chain.scheme_of(self.app)
        tracing.note_broker(scheme)
        default, claimcheck = self.app.conf.task_serializer, serializer.installed()
        warn_of_overwritten_serializer(self.app, claimcheck.options)

        def send_task_message(producer: Any, name: str, message: Any, **options: Any) -> Any:
            if scheme == "sqs":
                check_labels(options)
            about = _about(message)
            check_signed(name, options.get("serializer") or default, claimcheck.options)
            options = _returned(about, options)
            publication = Publication(
                task=name,
                task_id=about.get("id", ""),
                queue=_queue_name(self.queues.values(), options),
                envelope=self._envelope(message, options),
                wait_seconds=remaining_seconds(about),
            )
            options["headers"] = tracing.chosen(message.headers, options.get("headers"))
            _unshare(message.headers, options["headers"])
            options = _announced(_group_of(about) | options)
            into = batch_of(claimcheck, producer, about)
            with publishing(publication), collecting(into, publication) as parcel:
                try:
                    sent = send(producer, name, message, **options)
                except Exception as exc:
                    if not parcel.entries:
                        abandon(claimcheck, publication, parcel, exc)
                    raise
                finally:
                    del message  # error trackers show what is in a frame
            leave_earlier(claimcheck, publication)
            if into is not None:
                into.send_full({entry.url for entry in parcel.entries})
            return sent

        return send_task_message

    def _envelope(self, message: task_message, options: Mapping[str, Any]) -> Envelope:
        route = [options.get(name) for name in ("exchange", "routing_key", "queue")]
        return Envelope(
            headers=message.headers,
            properties=message.properties,
            route=[_name(each) for each in route if each],
            is_compressed=bool(options.get("compression") or self.app.conf.task_compression),
        )

    @property
    def producer_pool(self) -> ProducerPool:
        """Producers of ours, on the app's pool of connections, as Celery makes it."""
        if self._producer_pool is None:
            self._producer_pool = producers[self.app.connection_for_write()]
            self._producer_pool.limit = self.app.pool.limit
        return self._producer_pool

    publisher_pool = producer_pool


def _plain(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return arguments that Celery takes: a running task may pass its own deferred ones on."""
    return (
        list(args) if isinstance(args, DeferredArgs) else args,
        dict(kwargs) if isinstance(kwargs, DeferredKwargs) else kwargs,
    )


def _checked(name: str, message: task_message, embed: Mapping[str, Any]) -> task_message:
    check_links(name, embed)
    _write_ids_out(message)
    if message.sent_event:
        # The event would carry the arguments' text, and whether they stay here is not known yet.
        message.sent_event.update(args="", kwargs="")
    return message


def _about(message: task_message) -> Mapping[str, Any]:
    """Return what describes a task: its message's headers, or in protocol 1 its body."""
    return message.body if isinstance(message.body, dict) else message.headers


def _write_ids_out(message: task_message) -> None:
    """Make texts of ids: Celery takes UUIDs, numbers and bytes, and its result backends read texts."""
    for fields in filter(None, (_about(message), message.properties, message.sent_event)):
        found = {name: fields[name] for name in _IDS if fields.get(name) is not None}
        fields.update({name: id_text(value) for name, value in found.items()})


def _queue_name(queues: Iterable[Queue], options: Mapping[str, Any]) -> str:
    """Return the name that a task's workers count it for: of its queue, or of the exchange of a broadcast.

    The router adds the default queue to an exchange or routing key that a caller names: those lead elsewhere.
    """
    queue, exchange, key = (options.get(name) for name in ("queue", "exchange", "routing_key"))
    if isinstance(queue, Broadcast):
        return str(queue.exchange.name)
    if isinstance(queue, str) or (queue and not exchange and not key):
        return str(getattr(queue, "name", queue))
    if exchange is None and queue:
        exchange = queue.exchange
    name, key = str(getattr(exchange, "name", exchange or "")), str(key or getattr(queue, "routing_key", ""))
    declared = [it for it in options.get("declare") or () if isinstance(it, Queue)]
    bound = {it.name for it in declared or queues if it.exchange.name == name and _is_led_to(it, key)}
    return ",".join(sorted(bound)) or key or name


def _is_led_to(queue: Queue, routing_key: str) -> bool:
    """Say whether a queue's exchange leads a routing key to it, as Kombu decides it for its own exchanges."""
    if queue.exchange.type not in STANDARD_EXCHANGE_TYPES:  # another broker's
        return False
    kind = STANDARD_EXCHANGE_TYPES[queue.exchange.type](None)
    binding = kind.prepare_bind(queue.name, queue.exchange.name, queue.routing_key, None)
    return bool(kind.lookup([binding], queue.exchange.name, routing_key, None))


def _name(entity: object) -> str:
    return str(getattr(entity, "name", entity))


def _returned(headers: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Send a retry to the queue that its attempt came from, unless ``self.retry`` was given another."""
    queue = delivery_info.take_from(options)
    if queue is None or _is_rerouted(headers, options):
        return options
    return {**options, "queue": queue, "exchange": None, "routing_key": None, "exchange_type": "direct"}


def _unshare(*headers: dict[str, Any] | None) -> None:
    """Drop a header that ``Task.retry`` copies: whether this message is shared, the channel decides."""
    for each in filter(None, headers):
        each.pop(SHARED, None)


def _is_rerouted(headers: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Say whether ``self.retry`` was given another exchange or routing key than those of its attempt."""
    request = _attempt_before(headers)
    if request is None:  # its process was lost: nothing was chosen
        return False
    info = request.delivery_info or {}
    return any(options.get(name) != info.get(name) for name in ("exchange", "routing_key"))


def _attempt_before(headers: Mapping[str, Any]) -> Any:
    return running.attempt_before(headers.get("id", ""), headers.get("retries") or 0)


def _announced(options: dict[str, Any]) -> dict[str, Any]:
    """Declare the exchange of a broadcast, which Celery leaves to brokers that know it already."""
    queue = options.get("queue")  # the router has made it of a name
    if isinstance(queue, Broadcast) and options.get("declare") is None:
        return {**options, "declare": [queue.exchange]}
    return options


def _group_of(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message group of a retry: that of the attempt which sends it. Celery leaves it behind."""
    request = _attempt_before(headers)
    properties = request.properties if request is not None else None
    group = (properties or {}).get("MessageGroupId")
    return {"MessageGroupId": group} if group else {}
