"""The producer's end of Celery: its ``AMQP`` object, which makes every task message, and sends it.

An app chooses it with ``amqp_cls``. Its methods that turn arguments into a message are extended here; what
sends the message is in ``task_sender.py``.
Source: celery 5.7.0, ``app/amqp.py``.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from celery.app.amqp import task_message

from pipeline import time_chain
from pipeline.claimcheck.headers import SEE_ARGS, id_text
from pipeline.deferred.body import DeferredArgs, DeferredKwargs
from pipeline.publisher.checks import check_errbacks, check_links, warn_of_overwritten_serializer
from pipeline.publisher.task_sender import TaskSender, task_fields
from pipeline.serializer import serializer
from pipeline.telemetry import tracing
from pipeline.transport.foreign import OPTION
from pipeline.transport.send.collecting import ProducerPool, producers

if TYPE_CHECKING:
    from celery.app.amqp import AMQP
else:
    AMQP = object  # what stands in front of a class is not one of its kind

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
        if (options.get("serializer") or self.app.conf.task_serializer) == serializer.NAME:
            # Their encoder replaces Celery's text of the arguments, which for 1,500 records takes 2 ms.
            options.update(argsrepr=SEE_ARGS, kwargsrepr=SEE_ARGS)
        message = super().as_task_v2(task_id, name, args, kwargs, *rest, **options)
        return _checked(name, message, message.body[2])

    def as_task_v1(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any
    ) -> task_message:
        """Make the message of a task in protocol 1, as :meth:`as_task_v2` does."""
        args, kwargs = _plain(args, kwargs)
        message = super().as_task_v1(task_id, name, args, kwargs, *rest, **options)
        return _checked(name, message, message.body)

    def _create_task_sender(self) -> Callable[..., Any]:
        scheme, claimcheck = time_chain.scheme_of(self.app), serializer.installed()
        tracing.note_broker(scheme)
        warn_of_overwritten_serializer(self.app, claimcheck.options)
        return TaskSender(
            amqp=self,
            claimcheck=claimcheck,
            is_sqs=scheme == "sqs",
            default_serializer=self.app.conf.task_serializer,
            send=super()._create_task_sender(),
            doors=self.app.conf.broker_transport_options.get(OPTION) if scheme == "sqs" else None,
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
    check_errbacks(name, embed)
    _write_ids_out(message)
    if message.sent_event:
        # The event would carry the arguments' text, and whether they stay here is not known yet.
        message.sent_event.update(args="", kwargs="")
    return message


def _write_ids_out(message: task_message) -> None:
    """Make texts of ids: Celery takes UUIDs, numbers and bytes, and its result backends read texts."""
    for fields in filter(None, (task_fields(message), message.properties, message.sent_event)):
        found = {name: fields[name] for name in _IDS if fields.get(name) is not None}
        fields.update({name: id_text(value) for name, value in found.items()})
