"""What is measured: one row for each scenario."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.peers.workload import Payload

THIS, AHEAD, NAIVE, STOCK = "this", "this, reading ahead", "naive serializer", "stock Celery on SQS"
REDIS, EXTENDED, FLOOR = "Celery on Redis", "AWS's extended client", "floor"
ALL = (THIS, NAIVE, STOCK, REDIS, EXTENDED, FLOOR)

KB, MB = 1_000, 1_000_000
MIB = 1_048_576

SMALL = Payload("records", KB)
TEXT, RECORDS, BYTES = (Payload(kind, 300 * KB) for kind in ("text", "records", "bytes"))
MIB_8, MIB_64, MIB_512 = (Payload("text", size * MIB) for size in (8, 64, 512))
ARRAY = Payload("array", 8 * MIB)

TOGETHER, ONE_BY_ONE = "together", "one by one"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One workload, for the peers that take part. All figures of a peer come from one process each."""

    name: str
    """For ``--only``."""
    title: str
    payload: Payload = SMALL
    tasks: int = 0
    delay_ms: int = 0
    """Of each request, in the proxy."""
    publish: str = TOGETHER
    """A group or batches of ten; or a call for each task."""
    per_second: int = 0
    """Tasks are published at this rate while the worker runs. 0: they are published first, then run."""
    pool: str = "prefork"
    concurrency: int = 2
    workers: int = 1
    peers: Sequence[str] = (THIS, NAIVE)
    baseline: str = NAIVE
    """The peer that ratios refer to."""
    repetitions: int = 3
    """At most."""
    measure: str = "tasks"
    """``tasks``, ``idle`` or ``status``."""

    @property
    def every_seconds(self) -> float | None:
        """Return the interval of calls that publish; None for tasks that are published together."""
        if self.per_second:
            return 1 / self.per_second
        return 0.0 if self.publish == ONE_BY_ONE else None


def _workers(count: int) -> Scenario:
    return Scenario(
        name=f"workers-{count}", title=f"1 KB, 0 ms, {count} worker{'s' * (count > 1)} of one process",
        tasks=400, workers=count, concurrency=1, peers=(THIS, STOCK), baseline=STOCK, repetitions=2,
    )  # fmt: skip


def _pool(pool: str, concurrency: int) -> Scenario:
    return Scenario(
        name=f"pool-{pool}", title=f"300 KB of text, 20 ms, {pool} with {concurrency}",
        payload=TEXT, tasks=100, delay_ms=20, pool=pool, concurrency=concurrency, repetitions=2,
    )  # fmt: skip


def _size(name: str, title: str, payload: Payload, tasks: int, peers: Sequence[str], times: int) -> Scenario:
    return Scenario(
        name=name, title=f"{title}, 20 ms, one by one", payload=payload, tasks=tasks, delay_ms=20,
        publish=ONE_BY_ONE, peers=peers, baseline=peers[-1], repetitions=times,
    )  # fmt: skip


def _steady(name: str, title: str, payload: Payload, peers: Sequence[str]) -> Scenario:
    return Scenario(
        name=name, title=f"{title}, 20 ms, 10 tasks a second", payload=payload, tasks=60, per_second=10,
        delay_ms=20, publish=ONE_BY_ONE, peers=peers, baseline=peers[1], repetitions=2,
    )  # fmt: skip


SCENARIOS: Sequence[Scenario] = (
    Scenario(name="small", title="1 KB, 0 ms, together", tasks=400, peers=ALL, baseline=STOCK),
    Scenario(
        name="small-20ms", title="1 KB, 20 ms, together", tasks=150, delay_ms=20, peers=ALL, baseline=STOCK
    ),
    Scenario(
        name="small-threads", title="1 KB, 20 ms, together, 8 threads", tasks=200, delay_ms=20,
        pool="threads", concurrency=8, peers=(THIS, STOCK), baseline=STOCK,
    ),
    Scenario(name="text", title="300 KB of text, 0 ms, together", payload=TEXT, tasks=150, peers=ALL),
    Scenario(
        name="text-20ms", title="300 KB of text, 20 ms, together, 4 processes", payload=TEXT, tasks=200,
        delay_ms=20, concurrency=4, peers=(*ALL, AHEAD), repetitions=2,
    ),
    Scenario(
        name="one-by-one", title="300 KB of text, 0 ms, one by one", payload=TEXT, tasks=100,
        publish=ONE_BY_ONE,
    ),
    Scenario(
        name="one-by-one-threads", title="300 KB of text, 20 ms, one by one, 8 threads", payload=TEXT,
        tasks=60, delay_ms=20, publish=ONE_BY_ONE, pool="threads", concurrency=8,
    ),
    Scenario(
        name="records", title="300 KB of records, 0 ms, together", payload=RECORDS, tasks=100,
        peers=(THIS, NAIVE, REDIS), repetitions=2,
    ),
    Scenario(name="bytes", title="300 KB of bytes, 0 ms, together", payload=BYTES, tasks=100, repetitions=2),
    Scenario(
        name="array", title="8 MiB of float64, 0 ms, one by one", payload=ARRAY, tasks=8,
        publish=ONE_BY_ONE, repetitions=2,
    ),
    _size("8mib", "8 MiB of text", MIB_8, 12, (THIS, REDIS, EXTENDED, FLOOR, NAIVE), 3),
    _size("64mib", "64 MiB of text", MIB_64, 2, (THIS, REDIS, EXTENDED, FLOOR, NAIVE), 2),
    _size("512mib", "512 MiB of text", MIB_512, 1, (THIS, NAIVE), 1),
    _pool("prefork", 8),
    _pool("threads", 8),
    _pool("gevent", 8),
    *(_workers(count) for count in (1, 2, 4)),
    _steady("steady-small", "1 KB", SMALL, (THIS, STOCK, REDIS, FLOOR)),
    _steady("steady-text", "300 KB of text", TEXT, (THIS, NAIVE, REDIS, FLOOR)),
    Scenario(
        name="idle", title="An idle worker", measure="idle", peers=(THIS, STOCK, REDIS, FLOOR),
        baseline=STOCK, repetitions=1,
    ),
    Scenario(
        name="status", title="`celery status` in a new process", measure="status", peers=(THIS, REDIS),
        baseline=REDIS,
    ),
)  # fmt: skip
