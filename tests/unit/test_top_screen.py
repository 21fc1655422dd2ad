"""The picture of ``pipeline top``: what it says, and that it fits."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.admin.top.cost import CostEstimate, of_requests
from pipeline.admin.top.monitor import PollStatus, Snapshot
from pipeline.admin.top.readers import Depth, Rate, Stored, WorkerReader, Workers, totals
from pipeline.cli.top_layout import UNKNOWN, duration, lines, signed
from pipeline.cli.top_terminal import picture

NOW = datetime(2026, 11, 21, 10, 1, 1, tzinfo=UTC)
FINE = {name: PollStatus(1.0, None) for name in ("queues", "workers", "store")}
BUSY = Snapshot(
    app="shop",
    at=NOW,
    up_seconds=130.4,
    interval_seconds=5.0,
    queues=[
        Depth("default", waiting=12, in_flight=4, dead=0, dead_name="default-dlq", change_per_second=-0.4),
        Depth("bulk", waiting=1_204, delayed=3, dead=2, dead_name="bulk-dlq", change_per_second=-12.1),
        Depth("later", is_there=False),
    ],
    workers=Workers(3, 12, 8_000, 61.5),
    store=Stored(10_000, 1_234_567_890, is_all=False, oldest=NOW - timedelta(hours=3)),
    cost=CostEstimate.of_tasks(8_000, of_requests(100, 10)),
    sqs_calls=100,
    listed_pages=10,
    polls=FINE,
)


def texts(snapshot, width=80, height=None):
    return [line.text for line in lines(snapshot, width, height)]


def test_a_busy_picture():
    """The screen shows queues, flow, dead letters, workers, bytes and cost."""
    assert [text.rstrip() for text in texts(BUSY)] == [
        "shop  2026-11-21 10:01:01Z  running for 2 min 10 s, every 5 s",
        "backlog     1,223 messages in 3 queues, 2 dead letters",
        "throughput  61.5 tasks/s started; backlog -12.5/s, empty in 1 min 38 s",
        "workers     3, 12 tasks at once",
        "store       ≥ 10,000 payloads, ≥ 1.1 GiB, oldest 3 h (listed 1 s ago)",
        "cost so far $0.0096 (all inline) to $0.0528 (all offloaded) for 8,000 tasks",
        "            started; this command < $0.0001",
        "",
        "queue                                waiting  in flight  delayed  dead  change/s",
        "bulk                                   1,204          0        3     2     -12.1",
        "default                                   12          4        0     0      -0.4",
        "later                                 absent",
        "total                                  1,216          4        3     2     -12.5",
    ]


def test_one_payload_is_not_many():
    """A number of one has its noun in the singular."""
    shown = texts(replace(BUSY, store=Stored(1, 1_024, is_all=True, oldest=NOW)))

    assert any(text.startswith("store       1 payload, 1.0 KiB") for text in shown)


def test_a_picture_of_nothing():
    """Before anybody has answered, and without remote control, what is unknown is a dash."""
    empty = Snapshot(
        app="shop",
        at=NOW,
        up_seconds=0.2,
        interval_seconds=5.0,
        queues=None,
        workers=None,
        store=None,
        cost=CostEstimate.of_messages(0, 0, 0.0),
        sqs_calls=0,
        listed_pages=0,
        polls=dict.fromkeys(FINE, PollStatus(None, None)),
    )

    assert texts(empty)[1:5] == [
        f"{name:<12}{UNKNOWN}" for name in ("backlog", "throughput", "workers", "store")
    ]
    assert texts(empty)[-1] == "queues: SQS has not answered yet"


names = st.text("abcXYZ-_0189", min_size=1, max_size=80)
numbers = st.integers(0, 10**13)
depths = st.builds(
    Depth,
    name=names,
    is_there=st.booleans(),
    waiting=numbers,
    in_flight=numbers,
    delayed=numbers,
    dead=st.none() | numbers,
    dead_name=names,
    change_per_second=st.none() | st.floats(-1e9, 1e9),
)


@given(st.lists(depths, min_size=1, max_size=12, unique_by=lambda depth: depth.name), st.integers(70, 200))
def test_no_line_is_wider_than_the_screen(found, width):
    """With every value that SQS can report, each line fits, and each name is complete."""
    shown = texts(replace(BUSY, queues=found), width)
    table = shown[next(number for number, text in enumerate(shown) if text.startswith("queue ")) :]
    name_width = table[0].index("waiting") - 2
    left = "".join(line[:name_width].rstrip() for line in table)

    assert max(map(len, shown)) <= width
    assert all(depth.name in left for depth in found)


@given(st.integers(1, 60), st.integers(16, 60))
def test_no_row_is_below_the_screen(queues, height):
    """The busiest queues are shown; those that do not fit are shown as number and sum."""
    found = [Depth(f"queue-{number:02d}", waiting=number) for number in range(queues)]
    shown = texts(replace(BUSY, queues=found), 80, height)

    assert len(shown) <= height
    assert f"queue-{queues - 1:02d}" in "\n".join(shown)
    assert shown[-1].split()[:2] == ["total", f"{sum(range(queues)):,}"]


def test_an_error_stands_beside_the_last_numbers():
    """An outage is shown with its whole error and the age of what is shown."""
    error = "SQS did not answer GetQueueAttributes [queue=default]: " + "Connect timeout " * 8
    shown = texts(replace(BUSY, polls={**FINE, "queues": PollStatus(34.2, error)}))
    printed = " ".join(text.strip() for text in shown if text.startswith(("! ", "  ")) or "34" in text)

    assert error.strip() in printed
    assert "shown as of 34 s ago" in printed
    assert "! queues: SQS has not answered yet; shown as of 40 s ago" in texts(
        replace(BUSY, polls={**FINE, "queues": PollStatus(40.0, None)})
    )


def test_a_terminal_shows_the_same_text_with_colours():
    """Colours mark queues with dead dead_letters and errors, and change no letter."""
    drawn = picture(BUSY, 80, 24)

    assert drawn.plain.splitlines() == texts(BUSY)
    assert "red" in {str(span.style) for span in drawn.spans}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (3_661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
        (None, "0 s"),
    ],
)
def test_durations(seconds, text):
    """A duration is shown in its two largest units."""
    assert duration(seconds) == text


def test_changes():
    """A change has its sign unless it is none."""
    assert [signed(value) for value in (0, -0.04, 3, -2_000, 20e6)] == [
        "0.0",
        "0.0",
        "+3.0",
        "-2,000",
        "+20.0M",
    ]


def test_a_rate_is_that_of_the_last_minute():
    """Samples older than a minute do not count; a single sample makes no rate."""
    rate = Rate()

    assert rate.of(0, 0.0) is None
    assert rate.of(100, 10.0) == 10.0
    assert rate.of(100, 71.0) == 0.0


def test_spending_is_that_of_the_page_about_costs():
    """A million tasks cost what docs/explanation/costs.md says: 1.20 dollars inline, 6.60 offloaded."""
    spent = CostEstimate.of_tasks(1_000_000, 0.0)
    seen = CostEstimate.of_messages(1_000_000, 1_000_000, 0.0)

    assert (round(spent.inline, 6), round(spent.offloaded, 6)) == (1.2, 6.6)
    assert (round(seen.inline, 6), round(seen.offloaded, 6)) == (1.2, 6.6)


def test_workers_count_from_the_first_look():
    """What a worker had begun before does not count; one that was started anew counts from 0."""
    look = WorkerReader(None)

    def stats(total):
        return {"total": {"task": total}, "pool": {"max-concurrency": 2}}

    look._count({"a": stats(100)})
    look._count({"a": stats(110), "b": stats(7)})
    last = look._count({"a": stats(3), "b": stats(8)})

    assert (last.count, last.slots, last.started) == (2, 4, 14)


def test_totals_count_what_is_there():
    """Absent queues add nothing, and without any dead-letter queue the sum is unknown."""
    assert totals([Depth("a", waiting=1), Depth("b", is_there=False)]) == Depth("total", waiting=1)
