"""The tables of docs/explanation/scale.md, and its plots."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness.plots import PARTS, STYLE
from benchmarks.scale.limits import LIMITS, WORKLOADS
from benchmarks.scale.model import Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/scale.md"
IMAGES = ROOT / "docs/images/scale"
RATES = (1, 10, 100, 1_000, 10_000, 100_000)


def table() -> str:
    """Return both tables; write them into the page, and the plots beside it."""
    write_plots()
    PAGE.write_text(page(PAGE.read_text()))
    return f"{points_table()}\n\n{limits_table()}"


def page(text: str) -> str:
    """Return the text of the page with the tables between their marks."""
    for name, made in (("points", points_table()), ("limits", limits_table())):
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        text = f"{before}<!-- {name} -->\n{made}\n<!-- /{name} -->{rest.partition(f'<!-- /{name} -->')[2]}"
    return text


def points_table() -> str:
    """Return what each workload needs at each rate."""
    head = ("tasks", "tasks/s", "workers", "in flight", "latency, ms", "calls/s", "$ a day")
    return _table(head, (_cells(Point(each, rate)) for each in WORKLOADS for rate in RATES))


def _cells(point: Point) -> Sequence[str]:
    calls = point.rate * sum(point.workload.calls().values())
    return (
        point.workload.name,
        f"{point.rate:,}",
        f"{point.workers:,}",
        f"{point.in_flight:,}",
        f"{point.latency_seconds * 1_000:,.0f}",
        f"{calls:,.1f}" if calls < 10 else f"{calls:,.0f}",
        f"{point.dollars_a_day:,.2f}",
    )


def limits_table() -> str:
    """Return the quotas in the order in which they bite."""
    rows = (
        (each.name, f"{each.rate:,.0f}", f"{each.quota:,.0f} {each.unit}", each.remedy) for each in _limits()
    )
    return _table(("limit", "bites at tasks/s", "quota", "what to do"), rows)


def _limits() -> list[Any]:
    return sorted(LIMITS, key=lambda limit: limit.rate)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_plots() -> None:
    """Write an SVG file for each plot."""
    from matplotlib import rc_context  # noqa: PLC0415 - most readers of this module draw nothing
    from matplotlib.figure import Figure  # noqa: PLC0415

    IMAGES.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        for name, message, draw in PLOTS:
            figure = Figure((10, 4))
            draw(figure)
            figure.suptitle(message, x=0.01, ha="left", fontsize=13)
            figure.tight_layout()
            path = IMAGES / f"{name}.svg"
            figure.savefig(path, bbox_inches="tight", metadata={"Date": None, "Creator": None})


def _draw_limits(figure: "Figure") -> None:
    axes = figure.subplots()
    limits = _limits()
    axes.hlines(
        [each.name for each in limits], 1, [each.rate for each in limits], color=PARTS[1], linewidth=2
    )
    axes.plot([each.rate for each in limits], [each.name for each in limits], "o", color=PARTS[0])
    axes.set_xscale("log")
    axes.set_xlim(1, 20_000_000)
    axes.set_xlabel("tasks a second")
    axes.invert_yaxis()


def _draw_needs(figure: "Figure") -> None:
    kinds = {"workers": "workers", "dollars a day": "dollars_a_day", "latency, seconds": "latency_seconds"}
    for axes, (title, name) in zip(figure.subplots(1, 3), kinds.items(), strict=True):
        for colour, each in zip(PARTS, WORKLOADS, strict=False):
            values = [getattr(Point(each, rate), name) for rate in RATES]
            axes.plot(RATES, values, marker="o", color=colour, label=each.name)
        axes.set_xscale("log")
        axes.set_yscale("linear" if "latency" in title else "log")
        axes.set_title(title)
        axes.set_xlabel("tasks a second")
    axes.set_ylim(0, 0.15)
    axes.legend(fontsize=8, loc="upper left")


PLOTS = (
    ("limits", "From which rate of tasks on each limit of AWS bites", _draw_limits),
    ("needs", "What tasks need as their rate grows", _draw_needs),
)
