"""The producer's end of Celery: tells the serializer what is being published, and cleans up if it is not.

Celery makes every task message in its ``AMQP`` object, which an app chooses with ``amqp_cls``. Two of its
methods are extended here: the one that turns arguments into a message, and the one that sends it.
Source: celery 5.7.0, ``app/amqp.py``.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from celery.app.amqp import task_message

from pipeline import serializer
from pipeline.publication import Publication, publishing
from pipeline.transport import refused

if TYPE_CHECKING:
    from celery.app.amqp import AMQP
else:
    AMQP = object  # what stands in front of a class is not one of its kind

Sender = Callable[..., Any]


class PublisherMixin(AMQP):
    """Extends a Celery ``AMQP`` class. Runs in any process that publishes tasks."""

    def as_task_v2(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any
    ) -> task_message:
        """Make the message of a task; a running task may pass its own deferred arguments on."""
        args = args if isinstance(args, (list, tuple)) or args is None else list(args)
        kwargs = dict(kwargs) if isinstance(kwargs, Mapping) else kwargs
        message = super().as_task_v2(task_id, name, args, kwargs, *rest, **options)
        if message.sent_event:
            # The event would carry the arguments' text, and whether they stay here is not known yet.
            message.sent_event.update(args="", kwargs="")
        return message

    def _create_task_sender(self) -> Sender:
        send: Sender = super()._create_task_sender()

        def send_task_message(producer: Any, name: str, message: Any, **options: Any) -> Any:
            publication = Publication(
                task=name,
                task_id=message.headers.get("id", ""),
                queue=_queue_name(options),
                headers=message.headers,
            )
            with publishing(publication):
                try:
                    return send(producer, name, message, **options)
                except Exception as exc:
                    if publication.claims:
                        _abandon(publication, exc)
                    raise

        return send_task_message


def _queue_name(options: Mapping[str, Any]) -> str:
    queue = options.get("queue") or options.get("routing_key") or ""
    return str(getattr(queue, "name", queue))


def _abandon(publication: Publication, exc: Exception) -> None:
    """Release what was offloaded for a message that the broker has certainly not taken.

    After a timeout or a lost connection it may have: then the payload stays, and the sweep decides.
    """
    claimcheck = serializer.installed()
    left = claimcheck.release(publication.claims) if refused(exc) else publication.claims
    claimcheck.orphan(left, publication.queue, publication.task)
