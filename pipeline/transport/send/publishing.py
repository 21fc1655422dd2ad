"""What the channel does on the way out: makes queues that lose nothing, and puts messages on them."""

from contextlib import nullcontext
from typing import Any

from botocore.config import Config
from kombu.transport.SQS import Channel as SQSChannel
from kombu.utils.objects import cached_property

from pipeline.aws.limits import SQS_FIFO_SUFFIX, STS_SESSION_LEAST_SECONDS
from pipeline.aws.session import botocore_session, renew_when_refused
from pipeline.claimcheck.headers import SHARED
from pipeline.transport import addressing
from pipeline.transport.assumed_role import keep_fresh
from pipeline.transport.delay import delay_seconds
from pipeline.transport.send.collecting import Collector, parcel_of
from pipeline.transport.sqs_errors import is_expired


class PublishingChannel(SQSChannel):
    """The half of our channel that producers use."""

    default_visibility_timeout = 60
    """Seconds, for queues that are made here. The heartbeat extends it while a task runs, so it only says how
    soon the tasks of a worker that died are run by another."""
    dead_letter_queues = True
    """Default of the transport option of that name."""

    def __init__(self, connection: Any, **options: Any) -> None:
        # Kombu takes the transport from a channel that is closed, and the client from the transport.
        self._client_info, self._transport = connection.client, connection
        self._passing: set[str] = set()
        super().__init__(connection, **options)

    @property
    def conninfo(self) -> Any:
        """What the connection was made with; this and the next two make clients for a closed channel too."""
        return self._client_info

    @property
    def transport_options(self) -> Any:
        """The options of the connection."""
        return self.conninfo.transport_options

    @property
    def _predefined_queue_clients(self) -> Any:
        return self._transport._predefined_queue_clients  # noqa: SLF001

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **kwargs: Any) -> Any:
        """Publish a message. A header says whether other queues receive a copy of the task."""
        headers = message.get("headers") or {}
        if exchange and headers.get("task"):
            headers.pop(SHARED, None)  # a retry has the headers of the attempt before it
            headers.update({SHARED: True} if self._goes_to_many(exchange, routing_key) else {})
        return super().basic_publish(message, exchange, routing_key, **kwargs)

    def _goes_to_many(self, exchange: str, routing_key: str) -> bool:
        return self._exchange_is_fanout(exchange) or len(self._lookup(exchange, routing_key)) > 1

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        properties = message.setdefault("properties", {})
        if queue.endswith(SQS_FIFO_SUFFIX):
            if content := addressing.deduplication_id(message):  # else Kombu's own, a random one
                properties.setdefault("MessageDeduplicationId", content)
        elif delay := delay_seconds(message.get("headers"), self._kept_seconds):
            properties.setdefault("DelaySeconds", delay)
        parcel = parcel_of(message)
        if parcel is not None and parcel.keep is not None:
            keeping: Any = Collector(self, parcel)
            SQSChannel._put(keeping, queue, message, **kwargs)  # noqa: SLF001 - that of this very channel
            return
        with parcel.sending() if parcel is not None else nullcontext():
            super()._put(queue, message, **kwargs)

    @cached_property
    def _kept_seconds(self) -> int:
        """How short a wait is left to the worker, where ``inspect scheduled`` shows it."""
        return int(self.transport_options.get("eta_in_worker_seconds", 0))

    def _new_queue(self, queue: str, **declaration: Any) -> Any:
        name = self.canonical_queue_name(queue)
        if addressing.is_passing(name, declaration):
            self._passing.add(name)
        return super()._new_queue(queue, **declaration)

    def _new_boto_client(  # noqa: PLR0913, PLR0917 - Kombu's signature
        self,
        service: str,
        region: str | None,
        access_key_id: str | None,
        secret_access_key: str | None,
        session_token: str | None = None,
        config: Config | None = None,
    ) -> Any:
        """Make a client as Kombu does, in a session that shares its data files; it renews what it assumed."""
        chosen = Config(**(self.transport_options.get("client-config") or {}))
        endpoint = {"endpoint_url": self.endpoint_url} if self.endpoint_url is not None else {}
        client = botocore_session().create_client(
            service,
            region_name=region,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            aws_session_token=session_token,
            use_ssl=self.is_secure if self.is_secure is not None else True,
            config=chosen.merge(config) if config is not None else chosen,
            **endpoint,
        )
        renew_when_refused(client, is_expired)
        if session_token:
            self._keep_fresh(client)
        return client

    def _handle_sts_session(self, queue: str, q: Any) -> Any:
        """Return a predefined queue's client, whose credentials renew themselves. Kombu makes another."""
        known = self._predefined_queue_clients.get(queue)
        return super()._handle_sts_session(queue, q) if known is None else known

    def _keep_fresh(self, client: Any) -> None:
        options = self.transport_options
        seconds = options.get("sts_token_timeout", STS_SESSION_LEAST_SECONDS)
        buffer_seconds = options.get("sts_token_buffer_time")
        if role := options.get("sts_role_arn"):
            keep_fresh(client, role, seconds, buffer_seconds or 0)

    @cached_property
    def sqs_base64_encoding(self) -> bool:
        """Whether the envelope travels in base64, as Kombu has it: JSON needs none, and it costs a third."""
        return bool(self.transport_options.get("sqs_base64_encoding", False))

    def encode_body(self, body: Any, encoding: str | None = None) -> tuple[Any, str | None]:
        """Encode a body, in base64 unless it is text that is smaller in JSON as it is."""
        if isinstance(body, str) and body.count('"') + body.count("\\") < len(body) // 3:
            return body, "utf-8"
        encoded: tuple[Any, str | None] = super().encode_body(body, encoding)
        return encoded

    def create_queue(self, name: str) -> str:
        """Make a queue by SQS's name, with its dead-letter queue, and return its URL. For commands."""
        attributes = addressing.new_attributes(name, self.visibility_timeout)
        return str(self._create_queue(name, attributes)["QueueUrl"])

    def wants_dead_letters(self, name: str) -> bool:
        """Say whether a queue that is made here gets a dead-letter queue."""
        wanted = self.transport_options.get("dead_letter_queues", self.dead_letter_queues)
        return bool(wanted and name not in self._passing)

    def _create_queue(self, queue_name: str, attributes: dict[str, str]) -> Any:
        if not self.predefined_queues:
            attributes = addressing.creation_attributes(
                self.sqs(queue=queue_name),
                queue_name,
                attributes,
                self.transport_options,
                with_dead_letters=self.wants_dead_letters(queue_name),
            )
        return super()._create_queue(queue_name, attributes)
