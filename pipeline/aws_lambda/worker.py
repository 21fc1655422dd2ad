"""A Celery worker that is handed its messages: it has all parts of a worker, and is never started.

So a message runs as it does in a worker: validated by ``worker/validation.py``, followed to its end by
``worker/request.py``, traced by Celery, settled by the transport, and its payload released by
``worker/releaser.py``. What is missing is what a worker does of its own accord: receive, send heartbeats and
take commands.
Source: celery 5.7.0, ``worker/worker.py``, ``worker/consumer/consumer.py``, ``apps/worker.py``.
"""

import os
from collections.abc import Iterable
from functools import cached_property, partial
from itertools import groupby, islice
from threading import Thread
from time import time
from typing import Any

from celery import bootsteps
from celery.app.trace import setup_worker_optimizations
from celery.worker import state
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.worker import WorkController
from kombu.common import QoS
from kombu.messaging import Consumer as KombuConsumer

from pipeline import time_chain
from pipeline.aws.limits import SQS_BATCH_COUNT
from pipeline.aws_lambda.invocation import Invocation
from pipeline.aws_lambda.pool import TaskPool, Timer
from pipeline.aws_lambda.records import Arn, Record, age_seconds, field, sqs_message
from pipeline.serializer import serializer
from pipeline.telemetry import log_lines, tracing
from pipeline.transport import Message
from pipeline.transport.clients import ShortTimeoutClients
from pipeline.transport.redelivery import return_at_once
from pipeline.worker.eta import TIMER_SECONDS

logger = log_lines.logger(__name__)

SETTLE_SECONDS = 10.0
"""Longest wait for SQS to confirm the deletes of an invocation."""


RELEASE_SECONDS = 10.0
"""Longest wait for the store to delete payloads. The next invocation tries again."""


class Consumer(CeleryConsumer):
    """Celery's consumer without the steps that use the network."""

    class Blueprint(bootsteps.Blueprint):
        """No steps."""

        name = "Consumer"
        default_steps = ()

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, or raise at once: Lambda tries again."""
        conn.connect()
        return conn


class Worker(WorkController):
    """A worker in the process of a Lambda function.

    Args:
        app: the Celery app, after ``pipeline.install``.

    Raises:
        ValueError: its broker is not SQS, or a setting could lose messages.
        ClaimError: ``pipeline.install`` was not called.
    """

    def __init__(self, app: Any) -> None:
        self._queues: dict[Arn, tuple[str, str]] = {}
        self._short_timeout_clients = ShortTimeoutClients()
        try:
            super().__init__(
                app=app,
                hostname=f"lambda@{os.environ.get('AWS_LAMBDA_FUNCTION_NAME', 'local')}",
                concurrency=1,
                pool_cls=TaskPool,
                timer_cls=Timer,
                consumer_cls=Consumer,
                use_eventloop=False,
                disable_rate_limits=True,
                check_store=False,
            )
        except SystemExit as exc:  # with which a worker ends; Lambda would report only that there was one
            raise ValueError(str(exc)) from exc
        if time_chain.scheme_of(app) != "sqs":
            raise ValueError("the app's broker is not SQS, and Lambda's messages come from there")
        self.consumer.event_dispatcher = app.events.Dispatcher(enabled=False)
        self.consumer.qos = QoS(lambda **_: None, 0)
        self.consumer.update_strategies()
        self.pool.start()

    def on_before_init(self, **_: Any) -> None:
        """Prepare Celery's trace, as a worker that is started does."""
        setup_worker_optimizations(self.app, self.hostname)

    @cached_property
    def _messages(self) -> Any:
        """What handles a message. Connects, at the first invocation, and receives nothing."""
        consumer = self.consumer
        consumer.connection = consumer.connect()
        return KombuConsumer(
            consumer.connection.channel(),
            accept=self.app.conf.accept_content,
            on_message=consumer.create_task_handler(),
            on_decode_error=consumer.on_decode_error,
        )

    @property
    def _channel(self) -> Any:
        """Kombu's, of our transport."""
        return self._messages.channel

    @property
    def invocation(self) -> Invocation:
        """The call of the function that is under way."""
        return self.pool.invocation  # type: ignore[no-any-return]

    def begin(self, invocation: Invocation) -> None:
        """Note that an invocation has begun. The first one connects."""
        self.pool.invocation = self.timer.invocation = invocation
        self._messages  # noqa: B018 - see there

    def run(self, record: Record) -> bool:
        """Handle a message, and return whether it has come to its end: SQS need not deliver it again.

        Nothing of it is left in flight in this process, which may be stopped until the next invocation.
        """
        message = self._message(record)
        self.consumer.timer_seconds = min(TIMER_SECONDS, self.invocation.seconds)
        try:
            self._messages._receive_callback(message)  # noqa: SLF001 - what the transport calls
        except Exception:  # a worker would connect anew
            fields = {"message_id": field(record, "messageId")}
            logger.exception("message not handled, it is given back", extra=fields)
        if message.is_hopping:
            self._settle()
            self.consumer.perform_pending_operations()
        if message.is_open:
            message.requeue()
        return message.is_ended

    def give_back(self, records: Iterable[Record]) -> None:
        """Return messages to their queue, unread, ten with a call.

        Those for which there is no time are visible again after their visibility timeout.
        """
        for arn, of_queue in groupby(records, Arn.of):
            queue, url = self._queue(arn)
            new_client = partial(self._short_timeout_clients.of, url, self._client(queue))
            handles = filter(None, (field(each, "receiptHandle") for each in of_queue))
            while self.invocation.seconds_to_finish and (ten := list(islice(handles, SQS_BATCH_COUNT))):
                return_at_once(queue, url, ten, new_client)

    def _message(self, record: Record) -> Message:
        """Return a record as the transport returns what it has received."""
        raw = sqs_message(record)
        queue, url = self._queue(Arn.of(record))
        is_known = bool(raw["ReceiptHandle"])
        raw["ReceiptHandle"] = raw["ReceiptHandle"] or raw["MessageId"]
        envelope = self._channel._message_to_python(raw, queue, url)  # noqa: SLF001 - as above
        message: Message = self._channel.Message(envelope, channel=self._channel)
        # Without a receipt handle only Lambda can delete it, and does so later: its payload stays.
        message.unsettled = not is_known
        arrivals = self._channel.arrivals
        with arrivals.receiving():
            arrivals.add([raw], queue, url, arrivals.in_flight.clock() - age_seconds(record, time()))
            self._channel.qos.append(message, message.delivery_tag)
        return message

    def _queue(self, arn: Arn) -> tuple[str, str]:
        """Return Kombu's name of a queue and its URL. Asks SQS for its attributes, until it has answered."""
        if arn not in self._queues:
            name = self._kombu_name(arn)
            endpoint = self._client(name).meta.endpoint_url.rstrip("/")
            self._queues[arn] = name, f"{endpoint}/{arn.account}/{arn.name}"
        name, url = self._queues[arn]
        self._channel.connection.inspection.read(self._client(name), name, url)
        return name, url

    def _client(self, queue: str) -> Any:
        """Return boto3's client for a queue, by Kombu's name."""
        return self._channel.sqs(queue=self._channel.canonical_queue_name(queue))

    def _kombu_name(self, arn: Arn) -> str:
        """Return the name that the app has for a queue, or SQS's if the app does not name it."""
        channel = self._channel
        for name, predefined in channel.predefined_queues.items():
            if predefined["url"].endswith(f"/{arn.account}/{arn.name}"):
                return str(name)
        named = (*self.app.amqp.queues, *channel.doors)
        found = (name for name in named if channel.canonical_queue_name(name) == arn.name)
        return next(found, arn.name.removeprefix(channel.queue_name_prefix))

    def _process_task(self, request: Any) -> None:
        """Run a task, or give its message back if the invocation ends before its time limit."""
        limit_seconds = _limit_of(request)
        about = {"task_id": request.id, "task_name": request.name}
        if self.invocation.has_time_for(limit_seconds):
            if limit_seconds > self.invocation.seconds:
                logger.warning("the function's timeout is not above the task's time limit", extra=about)
            super()._process_task(request)
            return
        logger.info("task not run, the invocation ends too soon for it", extra=about)
        state.task_ready(request)
        request.reject(requeue=True)

    def finish(self) -> None:
        """Settle, release and report. Lambda stops all threads when the handler returns."""
        if not self._settle():
            logger.warning("invocation ends before every acknowledgement has settled")
        release = partial(self.releaser.flush, is_last=True)
        releasing = Thread(target=release, name="claimcheck-lambda-release", daemon=True)
        releasing.start()
        releasing.join(min(RELEASE_SECONDS, self.invocation.seconds_to_finish))
        serializer.installed().recorder.flush()
        tracing.flush()
        state.requests.clear()  # Celery keeps a request whose ETA its timer has waited for in place

    def _settle(self) -> bool:
        """Send and delete what waits for that, and return whether there was time."""
        settler = self._channel.connection.settler
        return bool(settler.flush(min(SETTLE_SECONDS, self.invocation.seconds_to_finish)))


def _limit_of(request: Any) -> float:
    """Return how long a task may run: its hard time limit, or else its soft one; 0 without any."""
    hard, soft = request.time_limits
    task = request.task
    return hard or task.time_limit or soft or task.soft_time_limit or 0.0
