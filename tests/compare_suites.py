"""Runs Celery's own integration tests over Redis with Celery alone, and over SQS with the claim check.

``make suites`` runs it: each file on Redis, moto and ministack side by side, every body in the store. It
prints a table and names the tests that fail over SQS alone; if there are any, it exits with 1. What pytest
printed is kept in ``.local/suites``. Kombu's own tests of its SQS transport are part of ``make test``.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import click
from standins import AWS, ROOT, Ministack, Moto, Redis
from suites import run_celery

FILES = ("test_canvas.py", "test_tasks.py", "test_inspect.py", "test_group_chains.py", "test_loader.py")
PLACES = {"Redis, Celery alone": None, "SQS, moto": Moto, "SQS, ministack": Ministack}
LOGS = ROOT / ".local/suites"
OUTCOMES = ("passed", "failed", "xfailed", "skipped")
FAILING = {
    "test_trace_log_arguments": "fails over Redis, too; and arguments are not written to logs",
    "test_revoked_by_headers_complex_canvas": "fails over Redis, too",
    "test_pending_chord_keeps_header_errback": "purges a queue each time; SQS and moto allow one a minute",
    "test_chord_header_id_duplicated": "its handler sends a Signal as a property, which only AMQP leaves out",
    "test_chain_to_a_chord_with_large_header (SQS, moto)": "moto sends and receives in O(depth): 50 s of CPU",
}
"""Tests that may fail over SQS, or in one place, each with its reason: a race, a rule of ours, a limit."""
THRESHOLD_BYTES = {"test_inspect.py": 262_144}
"""``inspect`` shows what travelled inline; every other file runs with each body in the store."""


def run(place, file, selected):
    """Run one file in one place, with servers of its own, and return what pytest reported."""
    kind, redis = PLACES[place], Redis()
    options = ("-k", selected) if selected else ()
    redis.start()
    try:
        if kind is None:
            return run_celery(file, redis, options=options)
        server = kind()
        server.start()
        try:
            threshold_bytes = THRESHOLD_BYTES.get(file, 0)
            return run_celery(file, redis, AWS(server.name, server.url), threshold_bytes, options)
        finally:
            server.stop()
    finally:
        redis.stop()


def failing_here_alone(ran):
    """Return the names of tests that fail over SQS and not over Redis, each with its place."""
    expected = ran["Redis, Celery alone"].ended("failed")
    found = {f"{name} ({place})" for place, each in ran.items() for name in each.ended("failed") - expected}
    return {name for name in found if not any(known in name for known in FAILING)}


@click.command()
@click.option("--file", "files", multiple=True, help="A file of t/integration; all of them by default.")
@click.option("-k", "selected", default="", help="Run the tests that match, as pytest's -k.")
def main(files, selected):
    """Compare Celery's own integration tests over SQS with those over Redis."""
    alone = set()
    LOGS.mkdir(parents=True, exist_ok=True)
    click.echo(f"{'file':26}{'place':22}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES))
    for file in files or FILES:
        with ThreadPoolExecutor() as pool:
            ran = dict(zip(PLACES, pool.map(lambda place: run(place, file, selected), PLACES), strict=True))  # noqa: B023
        for place, each in ran.items():
            (LOGS / f"{file}, {place}.txt").write_text(each.said)
            click.echo(f"{file:26}{place:22}" + "".join(f"{each.count(outcome):>9}" for outcome in OUTCOMES))
            if not each.outcomes:
                click.echo(each.said[-3000:])
                alone.add(f"{file} did not run ({place})")
        alone |= failing_here_alone(ran)
    click.echo(f"\nfail over SQS alone: {len(alone)}" + "".join(f"\n  {name}" for name in sorted(alone)))
    sys.exit(bool(alone))


if __name__ == "__main__":
    main()
