"""The command ``python -m tasks.demo.scaling``."""

import logging

import click

from tasks.demo import flower, processes, report
from tasks.demo.__main__ import in_one_sentence
from tasks.demo.processes import DemoError
from tasks.demo.scaling import report as screen
from tasks.demo.scaling.checks import checks
from tasks.demo.scaling.fleet import APP, fleet
from tasks.demo.scaling.load import loads
from tasks.demo.scaling.loop import Loop
from tasks.demo.scaling.shipped import scaling
from tasks.demo.scaling.watching import Watching

PARAMETERS = {"MaxWorkers": 2, "BacklogPerWorker": 6, "Concurrency": 2}
"""Those of ``deploy/workers.yaml``, for a machine with few cores."""


@click.command()
@click.option("--minute", default=1.0, show_default=True, help="Seconds that a minute of the policy takes.")
def main(*, minute: float) -> None:
    """Start and stop workers of two queues by the policy of deploy/workers.yaml; nothing is lost."""
    logging.basicConfig(level=logging.ERROR)
    processes.handle_signals()
    with in_one_sentence():
        report.console.print("Starting a local AWS and Flower, and no worker …")
        with processes.running(APP, {}) as system, flower.running(system.directory) as address:
            report.console.print(f"Flower: {address}", soft_wrap=True)
            policy = scaling(**PARAMETERS)
            with fleet(system.directory, policy.concurrency) as workers:
                _demonstrate(Loop(workers, loads(), Watching(address), policy, minute))


def _demonstrate(loop: Loop) -> None:
    with screen.live() as show, loop.watching:
        loop.run(show)
    screen.show_picture(loop.watching.picture)
    found = list(checks(loop))
    report.show_checks(found)
    failed = sum(not check.holds for check in found)
    if failed:
        raise DemoError(f"{failed} of {len(found)} checks failed")


if __name__ == "__main__":
    main()
