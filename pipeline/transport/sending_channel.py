"""The first half of the channel: Kombu's hooks for connections, declarations and publishing, each once.

Producers use no more than this. ``channel.py`` has the hooks for the rest of a message's life.
Source: kombu 5.7.0, ``transport/SQS/__init__.py`` (``Channel``), ``transport/virtual/base.py``.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from amqp.protocol import queue_declare_ok_t
from botocore.config import Config
from kombu.transport.base import to_rabbitmq_queue_arguments
from kombu.transport.SQS import Channel as SQSChannel
from kombu.utils.objects import cached_property

from pipeline.aws.limits import SQS_FIFO_SUFFIX, SQS_WAIT_LIMIT_SECONDS
from pipeline.aws.session import botocore_session
from pipeline.transport import addressing, foreign
from pipeline.transport.assumed_role import keep_fresh
from pipeline.transport.clients import new_client
from pipeline.transport.errors import NotRoutedError
from pipeline.transport.fanout import mailbox
from pipeline.transport.fanout.exchanges import Exchanges, fans_out
from pipeline.transport.fanout.listening import Listening
from pipeline.transport.send.collecting import Collector, is_publishing_task, parcel_of
from pipeline.transport.send.publishing import address, mark_shared


class SendingChannel(SQSChannel):
    """An SQS channel that declares queues with dead-letter queues, and publishes to queues and topics."""

    default_visibility_timeout = 60
    """Seconds, for queues that are made here. The heartbeat extends it while a task runs, so it only says how
    soon the tasks of a worker that died are run by another."""
    default_wait_time_seconds = SQS_WAIT_LIMIT_SECONDS
    """An idle worker makes three calls a minute for each queue."""
    dead_letter_queues = True
    """Default of the transport option of that name."""

    def __init__(self, connection: Any, **options: Any) -> None:
        # Kombu drops the connection of a channel that closes. This one still settles and returns messages.
        self._transport = connection
        super().__init__(connection, **options)
        self._without_dead_letters: set[str] = set()
        self._names = addressing.Names(self.queue_name_prefix, self.entity_name)
        self._listeners = connection.listeners
        self._exchanges = Exchanges(
            options=self.transport_options,
            names=self._names,
            topics=connection.topics,
            outbox=connection.outbox,
            client_of=self._sns_client,
        )
        self._listening = Listening(
            listeners=connection.listeners,
            declared=connection.declared,
            exchanges=self._exchanges,
            replies=connection.replies,
            names=self._names,
            options=self.transport_options,
            sqs=self.sqs,
            unbind=connection.state.queue_bindings_delete,
        )

    # Doors

    @property
    def doors(self) -> foreign.Translator:
        """The doors of the app; without any, an empty one."""
        return foreign.doors_in(self.transport_options)

    @property
    def get_message_attributes(self) -> dict[str, Any]:
        """The names of the attributes to receive with each message."""
        wanted: dict[str, Any] = super().get_message_attributes
        return foreign.with_all_attributes(wanted) if self.doors else wanted

    def send_plain(self, queue: str, body: str, attributes: Mapping[str, Any]) -> None:
        """Send a message that is no envelope of Kombu, with the attributes of its sender."""
        url = self._new_queue(queue)
        client = self.sqs(queue=self.canonical_queue_name(queue))
        client.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=dict(attributes))

    # Connect

    @property
    def conninfo(self) -> Any:
        """What the connection was made with; this and the next two make clients for a closed channel too."""
        return self._transport.client

    @property
    def transport_options(self) -> Any:
        """The options of the connection."""
        return self.conninfo.transport_options

    @property
    def _predefined_queue_clients(self) -> Any:
        return self._transport._predefined_queue_clients  # noqa: SLF001

    @cached_property
    def supports_fanout(self) -> bool:
        """Whether exchanges may be of type fanout."""
        return fans_out(self.transport_options)

    @cached_property
    def sqs_base64_encoding(self) -> bool:
        """Whether the envelope travels in base64, as Kombu has it: JSON needs none, and it costs a third."""
        return bool(self.transport_options.get("sqs_base64_encoding", False))

    @cached_property
    def region(self) -> str:
        """AWS's region. Kombu finds it with a session of boto3, which takes longer to make than a client."""
        found = self.transport_options.get("region") or botocore_session().get_config_variable("region")
        return str(found or self.default_region)

    def _new_boto_client(  # noqa: PLR0913, PLR0917 - Kombu's signature
        self,
        service: str,
        region: str | None,
        access_key_id: str | None,
        secret_access_key: str | None,
        session_token: str | None = None,
        config: Config | None = None,
    ) -> Any:
        chosen = Config(**(self.transport_options.get("client-config") or {}))
        client = new_client(
            service,
            chosen.merge(config) if config is not None else chosen,
            region_name=region,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            aws_session_token=session_token,
            use_ssl=self.is_secure if self.is_secure is not None else True,
            endpoint_url=self.endpoint_url,
        )
        if session_token:
            keep_fresh(client, self.transport_options)
        return client

    def _handle_sts_session(self, queue: str, q: Any) -> Any:
        """Return a predefined queue's client, whose credentials renew themselves. Kombu makes another."""
        known = self._predefined_queue_clients.get(queue)
        return super()._handle_sts_session(queue, q) if known is None else known

    def _sns_client(self, exchange: str) -> Any:
        return self.fanout.get_client(exchange)

    def _client(self, queue: str | None) -> Any:
        return self.sqs(queue=self.canonical_queue_name(queue) if queue else None)

    # Declare

    def canonical_queue_name(self, queue_name: str) -> str:
        """Return SQS's name of a queue."""
        listener = self._listeners.get(queue_name)
        if listener is not None and listener.name:
            return str(listener.name)
        if not mailbox.is_reply_queue(queue_name):
            return self._names.of(queue_name)
        if self.predefined_queues:
            return self._names.of(mailbox.reply_exchange(queue_name))
        return self._names.of_listener(queue_name)

    def exchange_declare(
        self,
        exchange: str | None = None,
        type: str = "direct",  # noqa: A002 - Kombu's name
        *args: Any,
        **options: Any,
    ) -> None:
        """Declare an exchange; that of events is a fanout."""
        is_fanout = self._exchanges.is_for_events(exchange) and self.supports_fanout
        super().exchange_declare(exchange, "fanout" if is_fanout else type, *args, **options)

    def prepare_queue_arguments(self, arguments: Any, **options: Any) -> Any:
        """Return the arguments of a queue to be declared, with how long it keeps messages among them."""
        return to_rabbitmq_queue_arguments(arguments or {}, **options)

    def queue_declare(self, queue: str | None = None, passive: bool = False, **declaration: Any) -> Any:  # noqa: FBT001, FBT002 - Kombu's signature
        """Declare a queue; one that ends with its consumer is made when it is bound or used."""
        if queue is None or passive or not self.supports_fanout or not addressing.ends(declaration):
            return super().queue_declare(queue, passive, **declaration)
        self._transport.declared[queue] = declaration
        return queue_declare_ok_t(queue, 0, 0)

    def queue_bind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", *args: Any, **options: Any
    ) -> None:
        """Bind a queue; here listeners are made."""
        super().queue_bind(queue, exchange, routing_key, *args, **options)
        is_for_all = mailbox.is_reply_queue(queue) or (exchange and self._exchange_is_fanout(exchange))
        if exchange and is_for_all and queue in self._transport.declared:
            self._listening.bind(queue, exchange)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: Any, queue: str) -> None:
        if not self._listening.includes(queue):
            super()._queue_bind(exchange, routing_key, pattern, queue)

    def _subscribe_queue_to_fanout_exchange_if_required(self, queue_name: str) -> None:
        if self._listeners.get(queue_name) is None:
            super()._subscribe_queue_to_fanout_exchange_if_required(queue_name)

    def _new_queue(self, queue: str, **declaration: Any) -> Any:
        declared = self._transport.declared.pop(queue, None)
        if (listener := self._listeners.get(queue)) is not None:
            return listener.url
        name = self.canonical_queue_name(queue)
        if mailbox.is_reply_queue(queue):
            if self.predefined_queues:
                return self._resolve_queue_url(mailbox.reply_exchange(queue))
            return self._transport.replies.url(queue, name, self.sqs())
        if addressing.is_temporary(name, declaration or declared or {}):
            self._without_dead_letters.add(name)
        return super()._new_queue(queue)

    def _create_queue(self, queue_name: str, attributes: dict[str, str]) -> Any:
        if not self.predefined_queues:
            attributes = addressing.creation_attributes(
                self.sqs(queue=queue_name),
                queue_name,
                attributes,
                self.transport_options,
                with_dead_letters=self.gets_dead_letter_queue(queue_name),
            )
        return super()._create_queue(queue_name, attributes)

    def create_queue(self, name: str) -> str:
        """Make a queue by SQS's name, with its dead-letter queue, and return its URL. For commands."""
        attributes = addressing.new_attributes(name, self.visibility_timeout)
        return str(self._create_queue(name, attributes)["QueueUrl"])

    def gets_dead_letter_queue(self, name: str) -> bool:
        """Return whether a queue that is made here gets a dead-letter queue."""
        wanted = self.transport_options.get("dead_letter_queues", self.dead_letter_queues)
        return bool(wanted and name not in self._without_dead_letters)

    def _purge(self, queue: str) -> int:
        """Delete what waits, and return SQS's approximate count of it, which Kombu adds up ten times."""
        count: int = self._size(queue)
        self._client(queue).purge_queue(QueueUrl=self._new_queue(queue))
        return count

    def _delete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        if not self._listening.end(queue):
            super()._delete(queue, *args, **kwargs)

    # Publish

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **kwargs: Any) -> Any:
        """Publish a message. A header says whether other queues receive a copy of the task."""
        if exchange and (message.get("headers") or {}).get("task"):
            is_fanout = self._exchange_is_fanout(exchange)
            mark_shared(message, None if is_fanout else len(self._lookup(exchange, routing_key)))
        return super().basic_publish(message, exchange, routing_key, **kwargs)

    def encode_body(self, body: Any, encoding: str | None = None) -> tuple[Any, str | None]:
        """Encode a body, in base64 unless it is text that is smaller in JSON as it is."""
        if isinstance(body, str) and body.count('"') + body.count("\\") < len(body) // 3:
            return body, "utf-8"
        encoded: tuple[Any, str | None] = super().encode_body(body, encoding)
        return encoded

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> Any:
        if mailbox.is_reply_exchange(exchange):
            return mailbox.reply_queues(exchange, routing_key)
        found = super()._lookup(exchange, routing_key, default)
        if not found and is_publishing_task() and not self._exchanges.is_for_events(exchange):
            raise NotRoutedError(
                f"task not sent: no queue is known here to be bound to exchange {exchange} for routing key "
                f"{routing_key}; name the queue, or bind it with declare="
            )
        return found

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        address(queue, message, int(self.transport_options.get("eta_in_worker_seconds", 0)))
        parcel = parcel_of(message)
        if parcel is not None and parcel.keep is not None:
            collector: Any = Collector(self, parcel)
            SQSChannel._put(collector, queue, message, **kwargs)  # noqa: SLF001 - that of this very channel
            return
        sending = parcel.sending() if parcel is not None else nullcontext()
        put = partial(super()._put, queue, message, **kwargs)
        with sending:
            self._transport.replies.send(queue, put)

    def _put_fanout(self, exchange: str, message: dict[str, Any], routing_key: str, **kwargs: Any) -> None:
        attributes = message.get("properties", {}).get("message_attributes")
        if exchange.endswith(SQS_FIFO_SUFFIX) or attributes:
            super()._put_fanout(exchange, message, routing_key, **kwargs)
        else:
            self._exchanges.publish(exchange, message)
