"""The demo's workload: 24 tasks with some 75 MB of input, through the plain task API."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, perf_counter, sleep
from typing import Any

from celery import signals
from celery.result import AsyncResult

from pipeline.results import forget
from pipeline.telemetry.sizes import size
from tasks.archives import unpack
from tasks.reports import summarise
from tasks.samples import CSV_SCHEMA, sample_archive, sample_csv, sample_report
from tasks.tables import load_csv

FINISH_TIMEOUT_SECONDS = 90.0
"""How long results are awaited."""
POLL_SECONDS = 0.1

MIX = (
    *(
        ("report", 10),
        ("archive", 2),
        ("table", 50),
        ("report", 50_000),
        ("archive", 400),
        ("table", 100_000),
    ),
    *(("report", 1_000), ("archive", 5), ("table", 1_000), ("report", 10_000), ("archive", 50)),
    *(("table", 20_000), ("report", 50_000), ("archive", 300), ("table", 50_000), ("report", 10_000)),
    *(("archive", 100), ("table", 50_000), ("report", 50_000), ("table", 20_000), ("report", 10_000)),
    *(("archive", 400), ("report", 50_000), ("table", 100_000)),
)
"""Kind and size of each input, in the order of sending: records, files or rows."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of input: its task, how to make it, and how to summarise a result."""

    task: Any
    arguments: Callable[[int, int], tuple[Any, ...]]
    phrase: Callable[[Any], str]


KINDS = {
    "report": Kind(
        summarise,
        lambda size, seed: (sample_report(size, seed),),
        lambda found: f"{found['records']:,} records, {len(found['regions'])} regions",
    ),
    "table": Kind(
        load_csv,
        lambda size, seed: (sample_csv(size, seed), CSV_SCHEMA),
        lambda found: f"{found['rows']:,} rows, {found['bad_rows']['count']} bad",
    ),
    "archive": Kind(
        unpack,
        lambda size, seed: (sample_archive(size, seed),),
        lambda found: f"{len(found['members'])} files, {size(found['expanded_bytes'])}",
    ),
}


@dataclass(slots=True)
class Sent:
    """One sent task, and its outcome."""

    result: AsyncResult[Any]
    kind: Kind
    queue: str
    payload_bytes: int
    """Size of the encoded arguments."""
    wire_bytes: int
    """Size of the message on SQS."""
    key: str | None
    """Where the payload is stored, if it was offloaded."""
    upload_seconds: float
    """How long ``delay()`` took: encoding, upload and send."""
    outcome: str = "no result"
    succeeded: bool = False

    def read(self) -> None:
        """Read the result, summarise it, and forget it."""
        try:
            self.outcome = self.kind.phrase(self.result.get())
            self.succeeded = True
        except Exception as exc:  # noqa: BLE001 - whatever the task raised
            self.outcome = f"failed: {type(exc).__name__}"
        forget(self.result)


def send(advance: Callable[[], None]) -> list[Sent]:
    """Send everything to the broker that the environment names."""
    # Here, because the application reads the environment when it is imported.
    import tasks.app  # noqa: F401, PLC0415

    sent = []
    with _publications() as published:
        for seed, (name, size) in enumerate(MIX):
            sent.append(_send(KINDS[name], size, seed, published))
            advance()
    return sent


def collect(sent: list[Sent], watch: Callable[[], None], advance: Callable[[], None]) -> None:
    """Read each result as it arrives.

    Args:
        sent: the tasks; those that have ended by then are filled in.
        watch: called while waiting; raises when there is nothing left to wait for.
        advance: called for each result.
    """
    waiting, deadline = list(sent), monotonic() + FINISH_TIMEOUT_SECONDS
    while waiting and monotonic() < deadline:
        watch()
        for each in [*waiting]:
            if each.result.ready():
                each.read()
                waiting.remove(each)
                advance()
        sleep(POLL_SECONDS)


def _send(kind: Kind, size: int, seed: int, published: list[tuple[str, dict[str, Any]]]) -> Sent:
    arguments = kind.arguments(size, seed)
    start = perf_counter()
    result = kind.task.delay(*arguments)
    seconds = perf_counter() - start
    queue, headers = published.pop()
    sizes = {name: headers["claimcheck"][name] for name in ("payload_bytes", "wire_bytes", "key")}
    return Sent(result, kind, queue, **sizes, upload_seconds=seconds)


@contextmanager
def _publications() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Note queue and headers of every message that this process publishes."""
    published: list[tuple[str, dict[str, Any]]] = []

    def note(routing_key: str, headers: dict[str, Any], **_: Any) -> None:
        published.append((routing_key, headers))

    signals.after_task_publish.connect(note)
    try:
        yield published
    finally:
        signals.after_task_publish.disconnect(note)
