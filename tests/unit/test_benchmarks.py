"""The figures that docs/ and the README show are those of one run, at the prices of one table."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import cold_start
from benchmarks.peers import report
from benchmarks.peers.cell import ONCE
from benchmarks.peers.peers import PEERS
from benchmarks.peers.prices import S3_DOLLARS, SQS_DOLLARS, dollars
from benchmarks.peers.proxy import Counts, Message, operation
from benchmarks.peers.workload import SCENARIOS

ROOT = Path(__file__).parents[2]
COSTS = (ROOT / "docs/explanation/costs.md").read_text()
RESULTS = json.loads(report.RESULTS.read_text())


def request(start, body=b"", **headers):
    """Return a request as the proxy reads it."""
    return Message(start, {name.replace("_", "-"): value for name, value in headers.items()}, b"", body)


@pytest.mark.parametrize(("path", "text"), [(report.PAGE, report.page), (report.README, report.readme)])
def test_tables_are_those_of_the_results(path, text):
    """The page and the README show what the JSON file holds."""
    assert path.read_text() == report.between_marks(path, text(RESULTS))


def test_every_peer_is_in_every_scenario():
    """The results have all peers beside each other."""
    assert [scenario["name"] for scenario in RESULTS["scenarios"]] == [each.name for each in SCENARIOS]
    for scenario in RESULTS["scenarios"]:
        assert set(scenario["peers"]) == {peer.name for peer in PEERS}


def test_prices_are_those_of_the_page():
    """The benchmarks and docs/explanation/costs.md have the same prices."""
    assert f"one request | ${SQS_DOLLARS:.2f} per million" in COSTS
    for name, operation_name in (("PUT", "PutObject"), ("GET", "GetObject")):
        (price,) = re.findall(rf"\| S3 {name} \| \$([\d.]+) per 1,000 \|", COSTS)

        assert float(price) * 1_000 == S3_DOLLARS[operation_name]
    assert "| S3 DELETE | free |" in COSTS


def test_dollars_are_what_is_billed():
    """A PUT, a GET, three requests of SQS and a delete cost what the page says."""
    billed = {"S3 PutObject": 1, "S3 GetObject": 1, "S3 DeleteObjects": 1, "SQS SendMessage": 3}

    assert dollars(billed) == pytest.approx(6.60)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (request("POST / HTTP/1.1", x_amz_target="AmazonSQS.SendMessageBatch"), "SQS SendMessageBatch"),
        (request("GET /0/q?Action=ReceiveMessage HTTP/1.1"), "SQS ReceiveMessage"),
        (request("PUT /bucket/a/b HTTP/1.1"), "S3 PutObject"),
        (request("GET /bucket/a HTTP/1.1"), "S3 GetObject"),
        (request("DELETE /bucket/a HTTP/1.1"), "S3 DeleteObject"),
        (request("POST /bucket?delete HTTP/1.1"), "S3 DeleteObjects"),
    ],
)
def test_calls_have_the_names_of_boto3(message, name):
    """The proxy names a request as boto3 does."""
    assert operation(message) == name
    assert not name.split(" ")[1].startswith(ONCE)


def test_sqs_bills_each_64_kib():
    """A large message counts as several requests, by the larger of request and answer."""
    counts = Counts()
    counts.add(
        request("POST / HTTP/1.1", b"x" * 65_537, x_amz_target="AmazonSQS.SendMessage"), request("200")
    )

    assert counts.calls == {"SQS SendMessage": 1}
    assert counts.billed == {"SQS SendMessage": 2}


def cells(row):
    """Return the cells of a table's row, with the texts of links alone."""
    return [re.sub(r"\[(.*)\]\(.*\)", r"\1", cell.strip()) for cell in row.strip("|").split("|")]


def test_cold_starts_are_measured():
    """The measurement of cold starts runs, and its table has the rows and units of the page."""
    page = (ROOT / "docs/howto/lambda.md").read_text().partition("## Cold start")[2]
    shown = [cells(row) for row in page.splitlines() if row.startswith("|")]
    measured = [cells(row) for row in cold_start.table(repetitions=1).splitlines() if row]

    assert [row[0] for row in measured] == [row[0] for row in shown]
    for rows in (shown[2:], measured[2:]):
        assert all(re.fullmatch(r"\d+(\.\d+)? s", time) for _, time, _ in rows)
        assert all(re.fullmatch(r"\d+ MB", memory) for _, _, memory in rows)
