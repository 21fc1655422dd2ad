"""Log lines of one task carry the same fields in every process, and never its arguments."""

import json

import pytest
from traced_sample import ROWS, Traced, records
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

FIELDS = {
    "task_id",
    "task_name",
    "queue",
    "attempt",
    "trace_id",
    "claim_key",
    "payload_bytes",
    "stored_bytes",
}


def said(worker, message):
    """Wait for a log line of a worker, and return it."""
    return eventually(
        lambda: next((each for each in records(worker.text()) if each["message"].startswith(message)), None),
        30,
        f"no line {message!r}",
    )


def test_lines_carry_the_same_fields(traced):
    """From upload to release, each line names task, attempt, payload, sizes and trace, as JSON."""
    task_id = traced.call("retry_twice", ROWS)
    worker = traced.worker(pool="prefork")
    said(worker, "payload released")
    lines = traced.said + records(worker.text())
    ours = [each for each in lines if each.keys() >= FIELDS]
    trace_id = traced.span("checkout")["context"]["trace_id"].removeprefix("0x")

    assert [(each["message"].partition(" [")[0], each["attempt"]) for each in ours] == [
        ("payload offloaded", 0),
        ("task ran", 0),
        ("task ran", 1),
        ("task ran", 2),
        ("payload released", 2),
    ]
    assert {each["task_id"] for each in ours} == {task_id}
    assert {each["trace_id"] for each in ours} == {trace_id}
    assert len({each["claim_key"] for each in ours}) == 1
    assert {each["queue"] for each in ours} == {traced.sample.queue}
    assert all(each["payload_bytes"] > 0 and each["stored_bytes"] > 0 for each in ours)
    assert "confidential" not in json.dumps(lines)


def test_lines_of_a_rejected_task_carry_the_same_fields(traced):
    """Lines of a rejected task carry the same fields in every process, and none says that it ran."""
    task_id = traced.call("digest", ROWS)
    [key] = traced.sample.objects()
    traced.sample.clear()
    worker = traced.worker(pool="prefork")
    rejected, unread = said(worker, "task rejected: "), said(worker, "payload not rehydrated: ")
    not_run = said(worker, "task not run")
    rehydrate, run = traced.span("claimcheck rehydrate"), traced.span("run sample_app.digest")

    assert "run_seconds" not in not_run
    assert "task ran" not in worker.text()
    for line in (rejected, unread, not_run):
        assert (line["task_id"], line["claim_key"], line["attempt"]) == (task_id, key, 0)
        assert line.keys() >= FIELDS
    assert rehydrate["attributes"]["error.type"] == run["attributes"]["error.type"] == "PayloadMissingError"


def test_celerys_own_lines_show_no_arguments(sample_of, moto_aws, tmp_path):
    """Printed as JSON, Celery's lines leave out what they carry of an inline task's arguments and result."""
    bucket = moto_aws.bucket()
    traced = Traced(sample_of(store=f"s3://{bucket}/claims"), tmp_path, bucket)
    task_id = traced.call("echo", "confidential")
    worker = traced.worker(pool="threads")
    traced.result(task_id).get(timeout=30)
    line = said(worker, "task ran")

    assert (line["claim_key"], line["stored_bytes"], line["task_id"]) == (None, None, task_id)
    assert line["payload_bytes"] > 0
    assert '"data"' not in worker.text()
