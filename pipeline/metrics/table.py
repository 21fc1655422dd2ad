"""The table of metrics: names, units, and the process that records each.

Dashboard, alarms, docs and sinks use these names and units, and tests compare them.
"""

from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """Units, spelt as CloudWatch spells them."""

    COUNT = "Count"
    BYTES = "Bytes"
    SECONDS = "Seconds"


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table. Dimensions are Queue and Task throughout, left out where unknown."""

    name: str
    unit: Unit
    emitted_by: str
    """Process that records it: *producer* publishes, *executing* runs the task (a pool
    child, or the worker itself on threads and solo), *main* is the worker's main process, and *sweep*
    the command of that name."""
    description: str
    is_level: bool = False
    """Whether it is a level (a gauge): the latest value counts, and values are not added up over time."""


PAYLOADS_OFFLOADED = Metric(
    "PayloadsOffloaded", Unit.COUNT, "producer", "Payloads put into the store, those of handles too"
)
PAYLOADS_REUSED = Metric("PayloadsReused", Unit.COUNT, "executing", "Retries that keep the payload they had")
BODIES_INLINE = Metric("BodiesInline", Unit.COUNT, "producer", "Bodies small enough to travel in the message")
PAYLOAD_BYTES = Metric(
    "PayloadBytes", Unit.BYTES, "producer", "Size of a body before compression, inline or offloaded"
)
WIRE_BYTES = Metric("WireBytes", Unit.BYTES, "producer", "Size of a message as SQS bills it")
ENCODE_SECONDS = Metric(
    "EncodeSeconds", Unit.SECONDS, "producer", "Serialising, compressing and, where needed, offloading a body"
)
UPLOAD_SECONDS = Metric("UploadSeconds", Unit.SECONDS, "producer", "Storing a payload, retries included")
REHYDRATE_SECONDS = Metric("RehydrateSeconds", Unit.SECONDS, "executing", "Reading and verifying a payload")
DECODE_SECONDS = Metric("DecodeSeconds", Unit.SECONDS, "executing", "Decompressing and deserialising a body")
RUN_SECONDS = Metric("RunSeconds", Unit.SECONDS, "executing", "Running the task, without rehydration")
TASKS_SUCCEEDED = Metric("TasksSucceeded", Unit.COUNT, "executing", "Tasks that returned")
TASKS_FAILED = Metric("TasksFailed", Unit.COUNT, "executing, main", "Tasks that ended as FAILURE")
TASKS_RETRIED = Metric("TasksRetried", Unit.COUNT, "executing, main", "Attempts that another follows")
PAYLOADS_MISSING = Metric("PayloadsMissing", Unit.COUNT, "executing", "Claims whose payload is gone")
PAYLOADS_CORRUPT = Metric("PayloadsCorrupt", Unit.COUNT, "executing", "Payloads unlike their claim")
DUPLICATES_IGNORED = Metric(
    "DuplicatesIgnored", Unit.COUNT, "executing", "Second deliveries of tasks that had ended, not run again"
)
HANDLE_STORED_BYTES = Metric(
    "HandleStoredBytes", Unit.BYTES, "any", "Size of a payload that was stored for a handle or shared value"
)
HANDLE_READ_BYTES = Metric(
    "HandleReadBytes", Unit.BYTES, "any", "Size of a range, or of all, that was read of such a payload"
)
RELEASE_SECONDS = Metric("ReleaseSeconds", Unit.SECONDS, "main, producer", "Deleting payloads from the store")
RELEASE_LAG_SECONDS = Metric(
    "ReleaseLagSeconds", Unit.SECONDS, "main", "From a task's end until its payload was deleted, or given up"
)
PAYLOADS_RELEASED = Metric("PayloadsReleased", Unit.COUNT, "main, producer", "Payloads that were deleted")
PAYLOADS_ORPHANED = Metric("PayloadsOrphaned", Unit.COUNT, "main, producer", "Payloads left to the sweep")
MESSAGES_REJECTED = Metric(
    "MessagesRejected", Unit.COUNT, "main", "Messages that are no task of this worker's: see the dead letters"
)
MESSAGES_WITHOUT_TASK = Metric(
    "MessagesWithoutTask",
    Unit.COUNT,
    "main",
    "Messages in which a door found nothing for a task, such as s3:TestEvent: deleted",
)
MESSAGES_UNSETTLED = Metric(
    "MessagesUnsettled", Unit.COUNT, "main", "Acknowledged messages that SQS did not delete: they come again"
)
HEARTBEAT_FAILURES = Metric(
    "HeartbeatFailures", Unit.COUNT, "main", "Visibility-timeout extensions that failed"
)
WORKER_CONCURRENCY = Metric(
    "WorkerConcurrency",
    Unit.COUNT,
    "main",
    "Tasks that a worker may run at once: add workers up",
    is_level=True,
)
QUEUE_BACKLOG = Metric(
    "QueueBacklog",
    Unit.COUNT,
    "main",
    "Messages that wait in a queue: each worker reports the same",
    is_level=True,
)
MESSAGES_IN_FLIGHT = Metric(
    "MessagesInFlight",
    Unit.COUNT,
    "main",
    "Messages that were received and not deleted, of all workers; SQS allows 120,000 a queue",
    is_level=True,
)
DEAD_LETTERS = Metric(
    "DeadLetters", Unit.COUNT, "main", "Messages in the dead-letter queue of a queue", is_level=True
)
ORPHANS_FOUND = Metric(
    "OrphansFound", Unit.COUNT, "sweep", "Payloads that a sweep found, whether or not it deleted them"
)
DATA_DROPPED = Metric("DataDropped", Unit.COUNT, "any", "Recorded values that the sink did not take, at most")

METRICS: tuple[Metric, ...] = tuple(each for each in list(globals().values()) if isinstance(each, Metric))
"""The table, in the order above."""
