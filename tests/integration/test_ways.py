"""Every way to publish a task: how many payloads it makes, each with one PUT and one DELETE."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import beat, chain, chord, group
from celery.schedules import schedule
from sample_fixtures import entered, standing_sample
from workers import APPS, eventually

from benchmarks.proxy import Proxy

pytestmark = [pytest.mark.aws, pytest.mark.worker]

PAGE = Path(__file__).parents[2] / "docs/howto/publishing.md"
ROWS = dict(re.findall(r"^\| (.+?) \| (\d) +\|", PAGE.read_text(), re.MULTILINE))
"""Payloads by way, as the page says."""


@pytest.fixture(scope="module")
def calls(moto):
    """A proxy that counts, in front of a stand-in."""
    with Proxy(moto.url) as proxy:
        proxy.name, proxy.reset_server = moto.name, moto.reset
        yield proxy


@pytest.fixture(scope="module")
def standing(calls, tmp_path_factory):
    """A sample where every message has a payload in the store, with a worker."""
    server = SimpleNamespace(name=calls.name, url=calls.url, reset=calls.reset_server)
    options = {"threshold_bytes": 0, "pack_bytes": 0}
    with standing_sample(server, tmp_path_factory.mktemp("ways"), "threads", options=options) as sample:
        sample.server = server
        yield sample


@pytest.fixture
def sample(standing, monkeypatch):
    """The sample without what earlier tests left."""
    entered(standing.server, monkeypatch, empty=False)
    standing.clear()
    return standing


def by_command(sample, *options):
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "sample_app",
        "call",
        "sample_app.add",
        "--args=[1, 2]",
        *options,
    ]
    done = subprocess.run(
        command, cwd=APPS, env=sample.environment, capture_output=True, text=True, check=True
    )
    return sample.app.AsyncResult(done.stdout.split()[-1])


def by_beat(sample):
    entry = beat.ScheduleEntry(
        "each", "sample_app.add", args=(1, 2), schedule=schedule(60, app=sample.app), app=sample.app
    )
    return beat.Scheduler(sample.app, lazy=True).apply_async(entry, advance=False)


def with_link(sample):
    result = sample.add.apply_async((1, 1), link=sample.double.s())
    eventually(lambda: result.children)
    return result.children[0]


def with_old_errback(sample):
    sample.fail.apply_async((1,), link_error=sample.old_errback.s("padding"))
    eventually(lambda: any("errback 7" in line for line in sample.notes()))


def with_errback(sample):
    sample.fail.apply_async((1,), link_error=sample.errback.s())
    eventually(lambda: any("ValueError" in line for line in sample.notes()))


def with_chord_errback(sample):
    failing = group(sample.fail.s(1), sample.add.s(1, 1))
    chord(failing, sample.total.s().on_error(sample.errback.s())).apply_async()
    eventually(lambda: any("ChordError" in line for line in sample.notes()))


WAYS = {
    "`delay`, `apply_async`": lambda sample: sample.add.delay(1, 2),
    "`app.send_task`": lambda sample: sample.app.send_task("sample_app.add", (1, 2)),
    "`celery call --serializer claimcheck`": lambda sample: by_command(sample, "--serializer", "claimcheck"),
    "`celery call`": by_command,
    "`celery beat`, each time": by_beat,
    "`compression=` by hand": lambda sample: sample.add.apply_async((1, 2), compression="gzip"),
    "`countdown`, `eta`": lambda sample: sample.add.apply_async((1, 2), countdown=1),
    "`map`, `starmap`": lambda sample: sample.add.starmap([(1, 2), (3, 4)]).apply_async(),
    "`chunks` of 4 in twos": lambda sample: sample.add.chunks([(1, 2)] * 4, 2).apply_async(),
    "`group` of 3": lambda sample: group(sample.add.s(number, 1) for number in range(3)).apply_async(),
    "`chain` of 3": lambda sample: chain(
        sample.add.s(1, 1), sample.double.s(), sample.double.s()
    ).apply_async(),
    "`link`": with_link,
    "`link_error` that takes `(request, exc, traceback)`": with_errback,
    "`link_error` that takes an id": with_old_errback,
    "`chord` of 2 and its body": lambda sample: chord(
        [sample.add.s(1, 1), sample.add.s(2, 2)], sample.total.s()
    )(),
    "`chord` of 2 that fails, with an errback": with_chord_errback,
    "`self.retry()` twice": lambda sample: sample.retry_twice.delay("rows"),
    "`self.replace` by a chord of 2": lambda sample: sample.replaced.delay(1),
}


def test_the_page_has_every_way():
    """The page lists exactly the ways of publishing that are tested."""
    assert list(ROWS) == list(WAYS)


@pytest.mark.parametrize("way", WAYS)
def test_each_payload_is_put_once_and_deleted_once(sample, calls, way):
    """Each way of publishing costs one PUT and one DELETE for each payload, and leaves none."""
    calls.requests.clear()
    before = sample.running.text().count("payload released")
    result = WAYS[way](sample)
    if result is not None:
        result.get(timeout=60)
    count = int(ROWS[way])

    eventually(lambda: sample.running.text().count("payload released") - before == count)
    puts = [request.path for request in calls.seen("PutObject")]
    assert len(puts) == len(set(puts)) == count
    assert calls.operations["DeleteObjects"] <= count
    assert not sample.objects()
