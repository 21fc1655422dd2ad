"""The figures that docs/ and the README show are those of one run, at the prices of one table."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.harness import report
from benchmarks.harness.counts import Counts, grows_with_tasks
from benchmarks.harness.prices import GET_DOLLARS, PUT_DOLLARS, S3_DOLLARS, SQS_DOLLARS, dollars
from benchmarks.harness.rows import ROWS, Goal
from benchmarks.harness.scenarios import SCENARIOS
from benchmarks.peers.peers import NAMED
from benchmarks.proxy.requests import Request

ROOT = Path(__file__).parents[2]
COSTS = (ROOT / "docs/explanation/costs.md").read_text()
RESULTS = json.loads(report.RESULTS.read_text())


def request(operation, **values):
    """Return an answered request as the proxy writes it down."""
    return Request("POST", "/", {}, {}, operation, 1, None, **{"answered_at": 1.0, **values})


@pytest.mark.parametrize(("path", "text"), [(report.PAGE, report.page), (report.README, report.readme)])
def test_tables_are_those_of_the_results(path, text):
    """The page and the README show what the JSON file holds."""
    assert path.read_text() == report.between_marks(path, text(RESULTS))


def test_every_scenario_has_its_peers():
    """The results have every scenario of the table, with its peers beside each other."""
    shown = {scenario["name"]: set(scenario["peers"]) for scenario in RESULTS["scenarios"]}

    assert shown == {scenario.name: set(scenario.peers) for scenario in SCENARIOS}
    assert {peer for scenario in SCENARIOS for peer in scenario.peers} == set(NAMED)


def test_every_goal_has_a_figure():
    """The page shows each figure that has a goal, with a peer beside it."""
    peers = {scenario["name"]: scenario["peers"] for scenario in RESULTS["scenarios"]}
    for row in ROWS:
        assert row.figure in peers[row.scenario][row.peer], row.title
        assert len(peers[row.scenario]) > 1


@pytest.mark.parametrize(
    ("goal", "text", "value", "is_met"),
    [
        (Goal(at_most=45), "≤ 45 ms", 45, True),
        (Goal(at_most=45), "≤ 45 ms", 46, False),
        (Goal(at_least=4, times="peer"), "≥ 4 x peer", 80, True),
        (Goal(at_least=4, times="peer"), "≥ 4 x peer", 60, False),
        (Goal(at_most=2, above="peer"), "≤ 2 ms above peer", 22, True),
        (Goal(at_most=2, above="peer"), "≤ 2 ms above peer", 23, False),
    ],
)
def test_a_goal_says_whether_it_is_met(goal, text, value, is_met):
    """A goal is a value, a multiple of a peer's figure, or a distance from it."""
    others = {"peer": {"figure": {"median": 20.0}}}

    assert goal.text(" ms") == text
    assert goal.is_met({"median": value, "ratio": value / 20}, others, "figure") is is_met


def test_prices_are_those_of_the_page():
    """The benchmarks and docs/explanation/costs.md have the same prices."""
    assert f"one request | ${SQS_DOLLARS:.2f} per million" in COSTS
    for name, dollars_per_million in (("PUT", PUT_DOLLARS), ("GET", GET_DOLLARS)):
        (price,) = re.findall(rf"\| S3 {name} \| \$([\d.]+) per 1,000 \|", COSTS)

        assert float(price) * 1_000 == dollars_per_million
    assert "| S3 DELETE | free |" in COSTS
    assert not [name for name in S3_DOLLARS if "Delete" in name]


def test_dollars_are_what_is_billed():
    """A PUT, a GET, three requests of SQS and a delete cost what the page says."""
    billed = {"PutObject": 1, "GetObject": 1, "DeleteObjects": 1, "SendMessage": 3}

    assert dollars(billed) == pytest.approx(6.60)


def test_sqs_bills_each_64_kib():
    """A large message is several requests, by the larger of request and answer; a part of S3 is one."""
    sent = request("SendMessage", sent_bytes=65_537, answered_bytes=500)
    received = request("ReceiveMessage", sent_bytes=500, answered_bytes=131_073, received=2)
    counts = Counts.of([sent, received, request("UploadPart", sent_bytes=8_000_000)])

    assert counts.calls == {"SendMessage": 1, "ReceiveMessage": 1, "UploadPart": 1}
    assert counts.billed == {"SendMessage": 2, "ReceiveMessage": 3, "UploadPart": 1}
    assert counts.received == [1.0, 1.0]


def test_messages_are_in_the_order_of_their_answers():
    """A call that waits long for messages comes after one that began later and was answered earlier."""
    calls = [request("ReceiveMessage", answered_at=at, received=1) for at in (3.0, 2.0)]

    assert Counts.of(calls).received == [2.0, 3.0]


def test_calls_of_a_start_are_not_counted():
    """Calls that no task causes are left out; those of an upload in parts are not."""
    assert not grows_with_tasks("CreateQueue")
    assert not grows_with_tasks("GetQueueAttributes")
    assert grows_with_tasks("CreateMultipartUpload")
    assert grows_with_tasks("ReceiveMessage")
