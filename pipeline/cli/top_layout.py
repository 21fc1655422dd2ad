"""Lays out ``pipeline top`` as lines of text, no wider than the screen. Long queue names wrap."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pipeline.admin.top.monitor import Snapshot
from pipeline.admin.top.readers import Depth, totals
from pipeline.telemetry.sizes import size

NARROWEST = 60
"""Minimum width in columns."""

UNKNOWN = "–"  # noqa: RUF001 - a dash, as a hyphen would look like a sign

_HEAD = ("waiting", "in flight", "delayed", "dead", "change/s")
_STALE = 3.0
"""Numbers are marked as old after this many intervals plus 5 seconds."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and its style by rich's name."""

    text: str
    style: str = ""


def lines(snapshot: Snapshot, width: int, height: int | None = None) -> list[Line]:
    """Lay a snapshot out in ``width`` columns, and in ``height`` rows if it fits."""
    width = max(width, NARROWEST)
    head = [*_wrapped(_title(snapshot), width, "bold"), *_summary(snapshot, width), *_errors(snapshot, width)]
    if snapshot.queues is None:
        return [*head, Line("queues: SQS has not answered yet")]
    rows = None if height is None else max(height - len(head) - 4, 1)
    return [*head, Line(""), *_table(snapshot.queues, width, rows)]


def _title(snapshot: Snapshot) -> str:
    up = duration(snapshot.up_seconds)
    every = f"{snapshot.interval_seconds:g} s"
    return f"{snapshot.app}  {snapshot.at:%Y-%m-%d %H:%M:%S}Z  running for {up}, every {every}"


def _summary(snapshot: Snapshot, width: int) -> Iterator[Line]:
    rows = {
        "backlog": _backlog(snapshot),
        "throughput": _throughput(snapshot),
        "workers": _workers(snapshot),
        "store": _store(snapshot),
        "cost so far": _cost(snapshot),
    }
    for name, text in rows.items():
        yield from _wrapped(f"{name:<12}{text}", width, indent=12)


def _backlog(snapshot: Snapshot) -> str:
    if snapshot.queues is None:
        return UNKNOWN
    everything = totals(snapshot.queues)
    dead = f", {_counted(everything.dead, 'dead letter')}" if everything.dead is not None else ""
    queues = _counted(len(snapshot.queues), "queue")
    return f"{_counted(everything.backlog, 'message')} in {queues}{dead}"


def _counted(number: int, what: str) -> str:
    return f"{count(number)} {what}{'s' * (number != 1)}"


def _throughput(snapshot: Snapshot) -> str:
    workers, parts = snapshot.workers, []
    if workers is not None and workers.started_per_second is not None:
        parts.append(f"{_rate(workers.started_per_second)} tasks/s started")
    change = totals(snapshot.queues).change_per_second if snapshot.queues else None
    if change is not None:
        parts.append(f"backlog {signed(change)}/s{_end(snapshot, change)}")
    return "; ".join(parts) or UNKNOWN


def _end(snapshot: Snapshot, change: float) -> str:
    everything = totals(snapshot.queues or ())
    due = everything.waiting + everything.in_flight
    return f", empty in {duration(due / -change)}" if due and change < -0.05 else ""  # noqa: PLR2004 - shown as -0.0


def _workers(snapshot: Snapshot) -> str:
    workers = snapshot.workers
    if workers is None:
        return UNKNOWN
    return f"{workers.count:,}, {workers.slots:,} tasks at once" if workers.count else "none answered"


def _store(snapshot: Snapshot) -> str:
    stored = snapshot.store
    if stored is None:
        return UNKNOWN
    least = "" if stored.is_all else "≥ "
    oldest = f", oldest {duration((snapshot.at - stored.oldest).total_seconds())}" if stored.oldest else ""
    age = snapshot.polls["store"].age_seconds or 0.0
    return (
        f"{least}{_counted(stored.objects, 'payload')}, {least}{size(stored.size_bytes)}{oldest} "
        f"(listed {duration(age)} ago)"
    )


def _cost(snapshot: Snapshot) -> str:
    spent = snapshot.cost
    return (
        f"{_dollars(spent.inline)} (all inline) to {_dollars(spent.offloaded)} (all offloaded) for "
        f"{spent.basis}; this command {_dollars(spent.own_requests)}"
    )


def _errors(snapshot: Snapshot, width: int) -> Iterator[Line]:
    for name, seen in snapshot.polls.items():
        is_old = (seen.age_seconds or 0.0) > 5 + _STALE * snapshot.interval_seconds
        age = f"; shown as of {duration(seen.age_seconds)} ago" if seen.age_seconds is not None else ""
        if seen.error:
            yield from _wrapped(f"! {name}: {seen.error}{age}", width, "bold red", 2)
        elif is_old and name == "queues":
            yield from _wrapped(f"! {name}: SQS has not answered yet{age}", width, "bold red", 2)


def _table(depths: Sequence[Depth], width: int, height: int | None) -> Iterator[Line]:
    ranked = sorted(depths, key=lambda depth: (-(depth.backlog + (depth.dead or 0)), depth.name))
    everything = totals(ranked)
    rows = [_cells(depth) for depth in (*ranked, everything)]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    name_width = width - sum(widths) - 2 * len(widths)
    row = _row_of(name_width, widths)
    shown = _fitting(ranked, name_width, height)
    yield row("queue", _HEAD, "bold")[0]
    for depth, cells in zip(ranked[:shown], rows, strict=False):
        yield from row(depth.name, cells, "red" if depth.dead else "")
    if shown < len(ranked):
        rest = totals(ranked[shown:])
        yield from row(f"and {len(ranked) - shown:,} more", _cells(rest), "red" if rest.dead else "")
    yield from row("total", rows[-1], "bold")


def _fitting(depths: Sequence[Depth], name_width: int, height: int | None) -> int:
    """Return how many of the queues, the busiest first, fit into ``height`` lines."""
    used = 0
    for number, depth in enumerate(depths):
        used += -(-len(depth.name) // name_width)
        if height is not None and used > height:
            return number
    return len(depths)


def _row_of(name_width: int, widths: Sequence[int]) -> Callable[[str, Sequence[str], str], list[Line]]:
    def row(name: str, cells: Sequence[str], style: str) -> list[Line]:
        """Return a row; a long name continues on the next line."""
        numbers = "".join(f"  {cell:>{wide}}" for cell, wide in zip(cells, widths, strict=True))
        first, *more = (name[start : start + name_width] for start in range(0, len(name), name_width))
        return [Line(f"{first:<{name_width}}{numbers}", style), *(Line(part, style) for part in more)]

    return row


def _cells(depth: Depth) -> tuple[str, ...]:
    if not depth.is_there:
        return ("absent", "", "", "", "")
    counts = (depth.waiting, depth.in_flight, depth.delayed)
    dead = UNKNOWN if depth.dead is None else count(depth.dead)
    change = UNKNOWN if depth.change_per_second is None else signed(depth.change_per_second)
    return (*map(count, counts), dead, change)


def _wrapped(text: str, width: int, style: str = "", indent: int = 0) -> list[Line]:
    folded = textwrap.wrap(text, width, subsequent_indent=" " * indent, break_on_hyphens=False)
    return [Line(part, style) for part in folded]


def count(number: float) -> str:
    """Format a number in nine characters at most."""
    for unit, value in (("G", 1e9), ("M", 1e6)):
        if number >= 10 * value:
            return f"{number / value:,.1f}{unit}"
    return f"{number:,.0f}"


def signed(number: float) -> str:
    """Format a change per second, with its sign."""
    text = _rate(abs(number))
    return text if text == "0.0" else f"{'+' if number > 0 else '-'}{text}"


def _rate(number: float) -> str:
    return f"{number:.1f}" if number < 1_000 else count(number)  # noqa: PLR2004 - a digit more than fits


def duration(seconds: float | None) -> str:
    """Format a duration in its two largest units."""
    whole = timedelta(seconds=round(max(seconds or 0.0, 0.0)))
    hours, rest = divmod(whole.seconds, 3_600)
    minutes, left = divmod(rest, 60)
    units = [(whole.days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    first = next((index for index, (value, _) in enumerate(units) if value), len(units) - 1)
    return " ".join(
        f"{value} {unit}" for value, unit in units[first : first + 2] if value or len(units) == first + 1
    )


def _dollars(amount: float) -> str:
    if 0 < amount < 0.0001:  # noqa: PLR2004 - as below
        return "< $0.0001"
    return f"${amount:,.2f}" if amount >= 10 or not amount else f"${amount:.4f}"  # noqa: PLR2004 - cents suffice
