"""Sends the message of a task: sets its route and headers, and gives the serializer what it has to know.

Celery's own sender does the rest. Source: celery 5.7.0, ``app/amqp.py`` (``_create_task_sender``).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celery.app.amqp import task_message

from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.headers import SHARED
from pipeline.claimcheck.message_size import Envelope
from pipeline.claimcheck.packs.uploads import Uploads
from pipeline.publisher import routes
from pipeline.publisher.batches import batch_of
from pipeline.publisher.checks import check_shared, check_signed
from pipeline.publisher.unsent import abandon, leave_earlier
from pipeline.serializer.publication import Publication, publishing
from pipeline.telemetry import tracing
from pipeline.transport.addressing import check_labels
from pipeline.transport.delay import remaining_seconds
from pipeline.transport.send.batch import Batch
from pipeline.transport.send.collecting import collecting
from pipeline.transport.sending_channel import SendingChannel


@dataclass(frozen=True, slots=True)
class TaskSender:
    """Sends the messages of an app's tasks, in any process that publishes."""

    amqp: Any
    """The app's ``AMQP`` object."""
    claimcheck: ClaimCheck
    is_sqs: bool
    default_serializer: str
    send: Callable[..., Any]
    """Celery's own sender."""
    doors: Any = None
    """Those of the app, some of which send to consumers that know no Celery; see ``transport/foreign.py``."""

    def __call__(self, producer: Any, name: str, message: task_message, **options: Any) -> Any:
        """Send a message; the arguments and the result are those of Celery's sender.

        Raises:
            ValueError: no worker would accept the message, or SQS does not take one of its labels.
            kombu.exceptions.EncodeError: its body was not encoded, or its payload not stored.
            BatchSendError: it filled a call of a batch, of which nothing was sent.
        """
        if self.doors and (plain := self.doors.sender(self._queue(options))) is not None:
            return plain.send(self.claimcheck, producer.channel, self._queue(options), name, message)
        self._check(name, message, options)
        about = task_fields(message)
        options = routes.chosen(about, options)
        options["headers"] = _headers(message, options)
        batch = batch_of(self.claimcheck, producer, about)
        uploads = self._uploads(batch, producer, options)
        publication = self._publication(name, message, options, uploads)
        with self._in_progress(publication, batch):
            try:
                return self.send(producer, name, message, **options)
            finally:
                del message  # error trackers show what is in a frame

    def _uploads(self, batch: Batch | None, producer: Any, options: Mapping[str, Any]) -> Uploads | None:
        """Return what stores the payload, if the message stays here meanwhile, until its batch is sent."""
        is_off = not self.claimcheck.options.upload_threads_count
        if batch is None or is_off or not self.is_sqs or routes.is_fanout(options):
            return None
        return batch.uploads if isinstance(producer.channel, SendingChannel) else None

    def _queue(self, options: Mapping[str, Any]) -> str:
        return routes.queue_name(self.amqp.queues.values(), options)

    def _check(self, name: str, message: task_message, options: Mapping[str, Any]) -> None:
        if self.is_sqs:
            check_labels(options)
        chosen = options.get("serializer") or self.default_serializer
        check_signed(name, chosen, self.claimcheck.options)
        check_shared(name, chosen, message.body)

    def _publication(
        self, name: str, message: task_message, options: Mapping[str, Any], uploads: Uploads | None
    ) -> Publication:
        about = task_fields(message)
        return Publication(
            task=name,
            task_id=about.get("id", ""),
            queue=self._queue(options),
            envelope=self._envelope(message, options),
            wait_seconds=remaining_seconds(about),
            uploads=uploads,
        )

    def _envelope(self, message: task_message, options: Mapping[str, Any]) -> Envelope:
        return Envelope(
            headers=message.headers,
            properties=message.properties,
            route=routes.names(options),
            is_compressed=bool(options.get("compression") or self.amqp.app.conf.task_compression),
        )

    @contextmanager
    def _in_progress(self, publication: Publication, batch: Batch | None) -> Iterator[None]:
        """Give serializer and transport a publication, and decide what becomes of its payloads."""
        with publishing(publication), collecting(batch, publication) as parcel:
            try:
                yield
            except Exception as exc:
                if not parcel.entries:
                    abandon(self.claimcheck, publication, parcel, exc)
                raise
        leave_earlier(self.claimcheck, publication)
        if batch is not None:
            batch.send_full({entry.url for entry in parcel.entries})


def task_fields(message: task_message) -> Mapping[str, Any]:
    """Return what describes a task: its message's headers, or in protocol 1 its body."""
    return message.body if isinstance(message.body, dict) else message.headers


def _headers(message: task_message, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the caller's headers, and put the trace context into the message's.

    Removes a header that ``Task.retry`` copies: the channel decides whether this message is shared.
    """
    given = tracing.chosen(message.headers, options.get("headers"))
    for headers in filter(None, (message.headers, given)):
        headers.pop(SHARED, None)
    return given
