"""What ``make bench`` counts for this project: calls and bytes, which do not depend on the machine."""

from dataclasses import replace

import pytest
from standins import absent

from benchmarks.harness.bench import running
from benchmarks.harness.cell import measure
from benchmarks.harness.scenarios import SCENARIOS
from benchmarks.peers.peers import NAMED

pytestmark = [pytest.mark.aws, pytest.mark.worker]

TASKS = 40
PUTS = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")


@pytest.fixture
def bench():
    """Servers and proxies of a run; the proxy names the process of each request."""
    try:
        with running(names_processes=True) as started:
            yield started
    except FileNotFoundError as exc:
        absent(f"a server of the benchmarks is not installed: {exc}")


def figures(bench, name):
    (scenario,) = (each for each in SCENARIOS if each.name == name)
    return measure(bench, NAMED["this"], replace(scenario, tasks=TASKS))


def test_small_tasks_travel_in_tens(bench):
    """Forty small tasks are four calls that send, no call of S3, and 6 KB on the wire each."""
    found = figures(bench, "small")
    calls = found["calls_by_kind"]

    assert set(calls) <= {"SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch", "DeleteMessage"}
    assert calls["SendMessageBatch"] == 0.1
    assert found["wire_kb"] < 6


def test_a_large_task_is_read_once_where_it_runs(bench):
    """A task of 300 KB is at most one PUT and one GET, none of them in main, and travels once each way.

    Main reads the ledgers of packs, to mark what has ended.
    """
    found = figures(bench, "text")
    calls = found["calls_by_kind"]
    by_process = {
        name: {each.pid for each in bench.aws_proxy.seen(name) if not each.path.endswith(".ledger")}
        for name in ("GetObject", "ReceiveMessage")
    }

    assert calls["GetObject"] < 1.2
    assert sum(calls.get(name, 0) for name in PUTS) <= 1
    assert calls["SendMessageBatch"] <= 0.3
    assert by_process["GetObject"].isdisjoint(by_process["ReceiveMessage"])
    assert found["wire_kb"] < 2 * 300
    assert found["payloads_left"] == 0
