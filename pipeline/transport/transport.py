"""Kombu's SQS transport, one for each connection. It owns the threads, and what its channels share."""

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, ClassVar

from kombu.transport import SQS

from pipeline.metrics import Metric
from pipeline.metrics.recorder import Recorder
from pipeline.metrics.table import HEARTBEAT_FAILURES, MESSAGES_UNSETTLED
from pipeline.transport.channel import Channel
from pipeline.transport.errors import NotSettledError
from pipeline.transport.fanout.events import GATHER_SECONDS, Outbox
from pipeline.transport.fanout.exchanges import fans_out
from pipeline.transport.fanout.listeners import Listeners
from pipeline.transport.fanout.replies import Replies
from pipeline.transport.fanout.topics import Topic
from pipeline.transport.heartbeat import Heartbeat
from pipeline.transport.in_flight import InFlight
from pipeline.transport.inspection import Inspection
from pipeline.transport.receive.dispatch_times import DispatchTimes
from pipeline.transport.settling import Settler


class Transport(SQS.Transport):
    """Kombu's SQS transport with our channel."""

    Channel = Channel
    connection_errors = (*SQS.Transport.connection_errors, NotSettledError)  # type: ignore[assignment]
    """Celery logs these when an acknowledgement fails, and goes on."""

    clock: ClassVar[Callable[[], float]] = staticmethod(monotonic)
    """The time, in seconds, that visibility is measured with."""

    recorder: Recorder | None = None
    """Counts messages that will never settle and extensions that failed. Each worker sets its own on the
    transport that it consumes with; nothing is counted elsewhere."""

    spare_slots: Callable[[], int] = staticmethod(lambda: 0)
    """Returns how many prefetch slots may be free while each process of the pool has a task. Each worker sets
    its own, as it does with the recorder."""

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        self.in_flight = InFlight(type(self).clock)
        self.settler = Settler(self.in_flight, partial(self._count, MESSAGES_UNSETTLED))
        self.heartbeat = Heartbeat(self.in_flight, partial(self._count, HEARTBEAT_FAILURES))
        self.inspection = Inspection()
        self.dispatch_times = DispatchTimes(type(self).clock)
        self.outbox = Outbox(float(client.transport_options.get("event_gather_seconds", GATHER_SECONDS)))
        self.listeners = Listeners()
        self.replies = Replies()
        self.topics: dict[str, Topic] = {}
        self.declared: dict[str, dict[str, Any]] = {}
        if fans_out(client.transport_options):  # which is how Celery knows that there is remote control
            self.implements = self.implements.extend(exchange_type=frozenset(["direct", "topic", "fanout"]))

    def _count(self, metric: Metric, queue: str, _code: str) -> None:
        if self.recorder is not None:
            self.recorder.record(metric, queue=queue)

    @property
    def reply_id(self) -> str:
        """What the queue is named after that replies to this connection's questions go to."""
        return self.replies.id

    def drain_events(self, connection: Any, timeout: float | None = None, **options: Any) -> Any:
        """Wait for a message; for the first reply no less than a new reply queue takes."""
        longest = timeout and self.replies.timeout_seconds(timeout)
        return super().drain_events(connection, longest, **options)

    def close_connection(self, connection: Any) -> None:
        """Publish what waits, end what listens, close every channel, and extend nothing any more."""
        self.outbox.close()
        self.listeners.close()
        super().close_connection(connection)
        self.heartbeat.close()
