"""The tables of docs/howto/scaling.md, and its plots."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.harness.plots import INK, PARTS, STYLE
from benchmarks.harness.prices import worker_dollars
from benchmarks.scaling.day import Day, Policy, Simulation
from benchmarks.scaling.loads import HOUR_SECONDS, LOADS
from benchmarks.scaling.policies import Fixed, Keda, Tracking, backlog_alone, held
from benchmarks.scaling.service_times import measured, service_seconds
from deploy.templates import template
from tasks.demo.scaling.shipped import scaling

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/howto/scaling.md"
RESULTS = ROOT / "docs/howto/scaling.json"
IMAGES = ROOT / "docs/images/scaling"

AWS, KEDA, ALL_DAY = "Fargate, target tracking", "Kubernetes, KEDA", "all workers, all day"
ALONE, HELD = "only messages that wait", "all workers while a task runs"
COLOURS = {AWS: PARTS[0], KEDA: PARTS[1], ALL_DAY: INK, ALONE: PARTS[4], HELD: PARTS[3]}
CHANGED: Sequence[dict[str, float]] = (
    {"BacklogPerWorker": 10},
    {"BacklogPerWorker": 500},
    {"BusyShare": 0.5},
    {"MinWorkers": 1},
    {"MaxWorkers": 20},
)
"""Parameters of the template that the page tries."""


@dataclass
class Run:
    """A queue's day under a policy."""

    queue: str
    policy: str
    day: Day

    @property
    def dollars(self) -> float:
        """Price of its workers."""
        return worker_dollars(self.day.worker_hours, *_size())

    def row(self) -> Sequence[str]:
        """Return its line of a table."""
        waits = (f"{self.day.wait_seconds(share):,.0f}" for share in (0.5, 0.95, 1))
        changes = int((np.diff(self.day.workers) != 0).sum())
        return (
            self.queue,
            self.policy,
            *waits,
            f"{self.day.worker_hours:,.0f}",
            f"{self.dollars:.2f}",
            str(changes),
        )


def table() -> str:
    """Measure, simulate, and write page, figures and plots."""
    times = measured()
    runs = {name: _runs(times, name) for name in (AWS, KEDA, ALL_DAY, ALONE, HELD)}
    results = {
        "cpu_seconds": times,
        "policies": [run.row() for name in (AWS, KEDA, ALL_DAY) for run in runs[name]],
        "reasons": [runs[name][0].row() for name in (AWS, ALONE, HELD)],
        "parameters": [run.row() for changed in CHANGED for run in _runs(times, changed)],
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(page(PAGE.read_text(), results))
    write_plots(runs)
    return "\n\n".join(_table(results[name]) for name in ("policies", "reasons", "parameters"))


def page(text: str, results: dict[str, Any]) -> str:
    """Return the text of the page with the tables between their marks."""
    made = {name: _table(results[name]) for name in ("policies", "reasons", "parameters")}
    made["times"] = _times_table(results["cpu_seconds"])
    for name, rows in made.items():
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        text = f"{before}<!-- {name} -->\n{rows}\n<!-- /{name} -->{rest.partition(f'<!-- /{name} -->')[2]}"
    return text


def _runs(times: dict[str, float], policy: str | dict[str, float]) -> list[Run]:
    name = (
        policy if isinstance(policy, str) else ", ".join(f"`{key}={value}`" for key, value in policy.items())
    )
    return [
        Run(
            load.queue,
            name,
            Simulation(load.arrivals(1), _service(times[load.queue]), _slots(), _made(policy)).run(),
        )
        for load in LOADS
    ]


def _made(policy: str | dict[str, float]) -> Policy:
    if isinstance(policy, dict):
        return Tracking(scaling(**policy))
    made = {AWS: Tracking, KEDA: Keda, ALL_DAY: lambda: Fixed(scaling().max_workers)}
    made |= {ALONE: lambda: Tracking(backlog_alone()), HELD: lambda: Tracking(held())}
    return made[policy]()


def _slots() -> int:
    return scaling().concurrency


def _size() -> tuple[int, int]:
    """Return CPU units and memory, in MB, of a worker."""
    parameters = template("workers.yaml")["Parameters"]
    return parameters["Cpu"]["Default"], parameters["Memory"]["Default"]


def _service(cpu_seconds: float) -> float:
    return service_seconds(cpu_seconds, _slots(), _size()[0])


def _times_table(times: dict[str, float]) -> str:
    loads = {load.queue: load.arrivals(1).sum() for load in LOADS}
    rows = (
        (
            queue,
            f"{loads[queue]:,}",
            f"{found:.3f}",
            f"{_service(found):.2f}",
            f"{_slots() / _service(found):.1f}",
        )
        for queue, found in times.items()
    )
    head = ("queue", "tasks a day", "CPU of a task, s", "time in a slot, s", "tasks/s of a worker")
    return _lines(head, rows)


def _table(rows: Iterable[Sequence[str]]) -> str:
    head = (
        "queue",
        "policy",
        "wait, median, s",
        "95 %, s",
        "longest, s",
        "worker hours",
        "$ a day",
        "changes",
    )
    return _lines(head, rows)


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def write_plots(runs: dict[str, list[Run]]) -> None:
    """Write an SVG file for each plot."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, message, draw in PLOTS:
            figure = Figure((10, 3.4))
            draw(figure, runs)
            figure.suptitle(message, x=0.01, ha="left", fontsize=13)
            figure.tight_layout()
            path = IMAGES / f"{name}.svg"
            figure.savefig(path, bbox_inches="tight", metadata={"Date": None, "Creator": None})


def _of_queues(figure: Figure, runs: dict[str, list[Run]], policies: Sequence[str], values: Any) -> Any:
    grid = figure.subplots(1, len(LOADS))
    for place, axes in enumerate(grid):
        for name in policies:
            _draw(axes, values(runs[name][place]), name)
        axes.set_title(f"queue {LOADS[place].queue}")
    grid[0].legend(fontsize=9, loc="upper left")
    return grid


def _draw(axes: Any, values: np.ndarray, name: str) -> None:
    """Draw a value of each minute."""
    minutes = values[::60]
    axes.plot(np.arange(len(minutes)) / 60, minutes, color=COLOURS[name], label=name, linewidth=1.4)
    axes.set(xlim=(0, 24), xticks=range(0, 25, 4), xlabel="hour of the day")
    axes.grid(visible=True, axis="y", color=INK, alpha=0.2)


def _backlog(figure: Figure, runs: dict[str, list[Run]]) -> None:
    for axes in _of_queues(figure, runs, (AWS, KEDA), lambda run: run.day.waiting):
        axes.set_ylabel("messages that wait")


def _workers(figure: Figure, runs: dict[str, list[Run]]) -> None:
    for axes in _of_queues(figure, runs, (AWS, KEDA), lambda run: run.day.workers):
        axes.set(ylabel="workers", ylim=(0, 11))


def _cost(figure: Figure, runs: dict[str, list[Run]]) -> None:
    def spent(run: Run) -> np.ndarray:
        return worker_dollars(1, *_size()) * np.cumsum(run.day.workers) / HOUR_SECONDS

    for axes in _of_queues(figure, runs, (ALL_DAY, AWS, KEDA), spent):
        axes.set(ylabel="$ since midnight", ylim=0)


def _reasons(figure: Figure, runs: dict[str, list[Run]]) -> None:
    grid = figure.subplots(1, 3, sharey=True)
    for axes, name in zip(grid, (HELD, ALONE, AWS), strict=True):
        _draw(axes, runs[name][0].day.workers, name)
        axes.set(title="as shipped" if name == AWS else name, ylim=(0, 11))
    grid[0].set_ylabel("workers of queue default")


PLOTS = (
    ("backlog", "A backlog grows until its own workers have started", _backlog),
    ("workers", "Each queue has its own workers, and none while it is empty", _workers),
    ("cost", "Workers that come and go cost a fraction of workers that stay", _cost),
    (
        "reasons",
        "Backlog alone lets workers stay for ever, or come and go; messages in flight steady them",
        _reasons,
    ),
)
