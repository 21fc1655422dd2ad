"""The results as plots: SVG files of one message each, without a ground, for light and dark pages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness.scenarios import AHEAD, EXTENDED, FLOOR, NAIVE, REDIS, STOCK, THIS
from benchmarks.measure import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#7d8896"
"""Of text and axes: readable on white and on black."""
COLOURS = {
    THIS: "#f76707",
    AHEAD: "#f79a5c",
    NAIVE: "#4c8dd6",
    STOCK: "#8a6fd1",
    REDIS: "#d6457a",
    EXTENDED: "#2fa37c",
    FLOOR: "#9aa4b0",
}
PARTS = ("#f76707", "#4c8dd6", "#2fa37c", "#8a6fd1", "#d6457a", "#b59f3b")
STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
    "legend.frameon": False,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "benchmarks",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}

KINDS: Mapping[str, Sequence[str]] = {
    "S3 writes": ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"),
    "S3 reads": ("GetObject", "HeadObject"),
    "S3 deletes": ("DeleteObject", "DeleteObjects"),
    "SQS sends": ("SendMessage", "SendMessageBatch"),
    "SQS receives": ("ReceiveMessage",),
    "SQS deletes": ("DeleteMessage", "DeleteMessageBatch"),
}
CPU = {"producer": "producer_cpu_ms", "worker's main process": "main_cpu_ms", "its children": "child_cpu_ms"}
GROWTH = {"a child": "child_growth", "producer": "producer_growth", "worker's main process": "main_growth"}
SIZES = {
    "steady-small": 1_000,
    "steady-text": 300_000,
    "8mib": 8 << 20,
    "64mib": 64 << 20,
    "512mib": 512 << 20,
}
RATES = ("small", "small-20ms", "text", "text-20ms")
WORKERS = {"workers-1": 1, "workers-2": 2, "workers-4": 4}

Peers = Mapping[str, Mapping[str, Any]]
Scenarios = Mapping[str, Peers]


def _median(peers: Peers, peer: str, name: str, value: str = "median") -> float | None:
    figure = peers.get(peer, {}).get(name)
    return figure[value] if figure else None


def _bars(axes: Any, values: Mapping[str, float | None]) -> None:
    """Draw one bar for each peer that has a value, the first on top, with its value beside it."""
    shown = {peer: value for peer, value in values.items() if value is not None}
    bars = axes.barh(list(shown), list(shown.values()), color=[COLOURS[peer] for peer in shown], height=0.66)
    axes.bar_label(bars, [number(value) for value in shown.values()], padding=4)
    _plain(axes)


def _stacks(axes: Any, parts: Mapping[str, Mapping[str, float]]) -> None:
    """Draw one bar for each peer, of parts, with the sum beside it."""
    peers = list(next(iter(parts.values())))
    left = dict.fromkeys(peers, 0.0)
    for colour, (part, values) in zip(PARTS, parts.items(), strict=False):
        row = [values[peer] for peer in peers]
        bars = axes.barh(peers, row, left=list(left.values()), color=colour, height=0.66, label=part)
        left = {peer: left[peer] + values[peer] for peer in peers}
    axes.bar_label(bars, [number(value) for value in left.values()], padding=4)
    _plain(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.02), ncols=3, fontsize=9)


def _plain(axes: Any) -> None:
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.tick_params(length=0)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def _calls(figure: "Figure", scenarios: Scenarios) -> None:
    axes = figure.subplots()
    peers = {peer: found["calls_by_kind"] for peer, found in scenarios["text"].items() if peer != REDIS}
    parts = {
        part: {peer: sum(kinds.get(name, 0) for name in names) for peer, kinds in peers.items()}
        for part, names in KINDS.items()
    }
    _stacks(axes, parts)


def _dollars(figure: "Figure", scenarios: Scenarios) -> None:
    axes = figure.subplots()
    peers = scenarios["text"]
    _bars(axes, {peer: _median(peers, peer, "dollars_per_million") for peer in peers})


def _rates(figure: "Figure", scenarios: Scenarios) -> None:
    grid = figure.subplots(2, 2)
    titles = ("1 KB, 0 ms; stock is 1", "1 KB, 20 ms; stock is 1", "300 KB, 0 ms; naive is 1")
    for axes, title, name in zip(grid.flat, (*titles, "300 KB, 20 ms; naive is 1"), RATES, strict=True):
        peers = scenarios[name]
        _bars(axes, {peer: _median(peers, peer, "tasks_per_second", "ratio") for peer in peers})
        axes.set_title(title)


def _cpu(figure: "Figure", scenarios: Scenarios) -> None:
    axes = figure.subplots()
    peers = scenarios["text"]
    _stacks(
        axes,
        {part: {peer: _median(peers, peer, name) or 0.0 for peer in peers} for part, name in CPU.items()},
    )


def _memory(figure: "Figure", scenarios: Scenarios) -> None:
    grid = figure.subplots(1, 3, sharey=True, sharex=True)
    peers = scenarios["64mib"]
    for axes, (title, name) in zip(grid.flat, GROWTH.items(), strict=True):
        _bars(axes, {peer: _median(peers, peer, name) or 0.0 for peer in peers})
        axes.set_title(title)


def _sizes(figure: "Figure", scenarios: Scenarios) -> None:
    axes = figure.subplots()
    for peer in (THIS, NAIVE, REDIS, EXTENDED, FLOOR):
        points = [(size, _median(scenarios[name], peer, "publish_ms")) for name, size in SIZES.items()]
        shown = [(size, value) for size, value in points if value is not None]
        axes.plot(*zip(*shown, strict=True), marker="o", color=COLOURS[peer], label=peer)
    axes.set(xscale="log", yscale="log", xlabel="bytes of argument", ylabel="ms")
    axes.grid(visible=True, color=INK, alpha=0.2)
    axes.legend()


def _workers(figure: "Figure", scenarios: Scenarios) -> None:
    grid = figure.subplots(1, 2)
    names = {"tasks_per_second": "tasks/s", "calls": "AWS calls for a task"}
    for axes, (name, title) in zip(grid.flat, names.items(), strict=True):
        for peer in (THIS, STOCK):
            values = [_median(scenarios[each], peer, name) for each in WORKERS]
            axes.plot(list(WORKERS.values()), values, marker="o", color=COLOURS[peer], label=peer)
        axes.set(title=title, xticks=list(WORKERS.values()), xlabel="workers of one process", ylim=0)
        axes.grid(visible=True, axis="y", color=INK, alpha=0.2)
    grid[0].legend()


def _latency(figure: "Figure", scenarios: Scenarios) -> None:
    grid = figure.subplots(1, 2)
    for axes, (name, title) in zip(
        grid.flat, {"steady-small": "1 KB", "steady-text": "300 KB"}.items(), strict=True
    ):
        for peer in scenarios[name]:
            ends = [_median(scenarios[name], peer, f"end_to_end_{part}_ms") for part in ("p50", "p99")]
            axes.plot(ends, [peer, peer], marker="|", markersize=12, linewidth=6, color=COLOURS[peer])
        axes.invert_yaxis()
        axes.set(title=title, xlabel="ms, from median to p99", xlim=0)
        axes.margins(y=0.2)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=True, axis="x", color=INK, alpha=0.2)


@dataclass(frozen=True)
class Plot:
    """A file and its message."""

    name: str
    message: str
    size: tuple[float, float]
    """In inches."""
    draw: "Callable[[Figure, Scenarios], None]"


PLOTS: Sequence[Plot] = (
    Plot("calls", "AWS calls for a task of 300 KB, published together", (8, 3.2), _calls),
    Plot("dollars", "Dollars of AWS per million tasks of 300 KB, published together", (8, 2.6), _dollars),
    Plot("rates", "Tasks a second of a worker, as a multiple of a peer's", (10, 5.4), _rates),
    Plot("cpu", "CPU seconds for 1,000 tasks of 300 KB, by process", (8, 3), _cpu),
    Plot("memory", "Peak memory above the idle process, in payloads of 64 MiB", (10, 2.4), _memory),
    Plot("sizes", "How long a call that publishes takes at 20 ms, by size", (8, 3.8), _sizes),
    Plot(
        "latency",
        "From the call that publishes to the task's code, at 10 tasks a second and 20 ms",
        (10, 2.4),
        _latency,
    ),
    Plot("workers", "Rate and calls of tasks of 1 KB, by number of workers", (10, 3.2), _workers),
)


def write(results: Mapping[str, Any], folder: Path) -> None:
    """Write an SVG file for each plot."""
    from matplotlib import rc_context  # noqa: PLC0415 - most readers of this module draw nothing

    folder.mkdir(parents=True, exist_ok=True)
    scenarios = {each["name"]: each["peers"] for each in results["scenarios"]}
    with rc_context(STYLE):
        for plot in PLOTS:
            path = folder / f"{plot.name}.svg"
            _drawn(plot, scenarios).savefig(
                path, bbox_inches="tight", metadata={"Date": None, "Creator": None}
            )


def _drawn(plot: Plot, scenarios: Scenarios) -> "Figure":
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(plot.size)
    plot.draw(figure, scenarios)
    figure.suptitle(plot.message, x=0.01, ha="left", fontsize=13)
    figure.tight_layout()
    return figure
