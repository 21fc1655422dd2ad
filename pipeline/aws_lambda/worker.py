"""A Celery worker that is handed its messages: it has all parts of a worker, and is never started.

So a message runs as it does in a worker: validated by ``worker/validation.py``, followed to its end by
``worker/request.py``, traced by Celery, settled by the transport, and its payload released by
``worker/releaser.py``. What is missing is what a worker does of its own accord: receive, send heartbeats and
take commands.
Source: celery 5.7.0, ``worker/worker.py``, ``worker/consumer/consumer.py``, ``apps/worker.py``.
"""

import os
from functools import cached_property
from typing import Any

from celery import bootsteps
from celery.app.trace import setup_worker_optimizations
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import task_ready
from celery.worker.worker import WorkController
from kombu.common import QoS
from kombu.messaging import Consumer as KombuConsumer

from pipeline import time_chain
from pipeline.aws_lambda.invocation import Invocation
from pipeline.aws_lambda.pool import TaskPool, Timer
from pipeline.aws_lambda.records import Arn, Record, sqs_message
from pipeline.serializer import serializer
from pipeline.telemetry import log_lines, tracing
from pipeline.transport import Message

logger = log_lines.logger(__name__)

SETTLE_SECONDS = 10.0
"""Longest wait for SQS to confirm the deletes of an invocation."""


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
        """Note that an invocation has begun."""
        self.pool.invocation = invocation

    def run(self, record: Record) -> bool:
        """Handle a message, and return whether it has come to its end: SQS need not deliver it again."""
        message = self._message(record)
        self._messages._receive_callback(message)  # noqa: SLF001 - what the transport calls for each message
        return message.is_ended

    def give_back(self, record: Record) -> None:
        """Return a message to its queue, unread."""
        self._message(record).requeue()

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
        self._channel.qos.append(message, message.delivery_tag)
        return message

    def _queue(self, arn: Arn) -> tuple[str, str]:
        """Return Kombu's name of a queue and its URL. Asks SQS for its attributes, once."""
        if arn not in self._queues:
            channel = self._channel
            name = self._kombu_name(arn)
            client = channel.sqs(queue=channel.canonical_queue_name(name))
            url = f"{client.meta.endpoint_url.rstrip('/')}/{arn.account}/{arn.name}"
            channel.connection.inspection.read(client, name, url)
            self._queues[arn] = name, url
        return self._queues[arn]

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
        task_ready(request)
        request.reject(requeue=True)

    def finish(self) -> None:
        """Settle, release and report. Lambda stops all threads when the handler returns."""
        settler = self._channel.connection.settler
        if not settler.flush(min(SETTLE_SECONDS, self.invocation.seconds_to_finish)):
            logger.warning("invocation ends before every acknowledgement has settled")
        self.releaser.flush()
        serializer.installed().recorder.flush()
        tracing.flush()


def _limit_of(request: Any) -> float:
    """Return how long a task may run: its hard time limit, or else its soft one; 0 without any."""
    hard, soft = request.time_limits
    task = request.task
    return hard or task.time_limit or soft or task.soft_time_limit or 0.0
