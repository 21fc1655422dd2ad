"""One task is one trace, across real producers and workers."""

import pytest
from traced_sample import ROWS, records
from workers import eventually

import pipeline

pytestmark = [pytest.mark.aws, pytest.mark.worker]


def ids(span):
    return span["context"]["trace_id"], span["context"]["span_id"]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_is_one_trace(traced, moto_aws, pool):
    """Offload, run and release are children of the caller's span, rehydrate of run; S3 stores the trace."""
    task_id = traced.call("digest", ROWS)
    [key] = traced.sample.objects()
    metadata = moto_aws.client("s3").head_object(Bucket=traced.bucket, Key=key)["Metadata"]
    traced.worker(pool=pool)
    traced.result(task_id).get(timeout=30)
    release, caller = traced.span("claimcheck release"), traced.span("checkout")
    offload, run = traced.span("claimcheck offload"), traced.span("run sample_app.digest")
    rehydrate = traced.span("claimcheck rehydrate")
    trace_id = caller["context"]["trace_id"].removeprefix("0x")

    assert {span["context"]["trace_id"] for span in traced.spans()} == {f"0x{trace_id}"}
    assert [span["parent_id"] for span in (offload, run, release)] == [ids(caller)[1]] * 3
    assert rehydrate["parent_id"] == ids(run)[1]
    assert metadata["traceparent"].split("-")[1:3] == [trace_id, ids(offload)[1].removeprefix("0x")]
    assert len(traced.spans()) == 5
    assert "confidential" not in traced.text()
    assert release["start_time"] >= run["end_time"]


def test_attributes_follow_the_conventions(traced):
    """Spans name system, queue, message, sizes and object as OpenTelemetry does."""
    task_id = traced.call("digest", ROWS)
    [key] = traced.sample.objects()
    traced.worker(pool="threads")
    traced.span("claimcheck release")
    about = {
        "messaging.system": "aws_sqs",
        "messaging.destination.name": traced.sample.queue,
        "messaging.message.id": task_id,
        "celery.task_name": "sample_app.digest",
    }
    where = {"aws.s3.bucket": traced.bucket, "aws.s3.key": key, "claimcheck.key": key}
    run = traced.span("run sample_app.digest")

    for name in ("offload", "rehydrate", "release"):
        attributes = traced.span(f"claimcheck {name}")["attributes"]
        assert (about | where).items() <= attributes.items()
        assert attributes["messaging.message.body.size"] > attributes["claimcheck.stored_bytes"] // 2 > 0
    assert (about | {"celery.state": "SUCCESS", "celery.retries": 0}).items() <= run["attributes"].items()
    assert run["attributes"]["messaging.operation.type"] == "process"
    assert run["kind"] == "SpanKind.CONSUMER"


def test_without_a_callers_span_the_upload_begins_the_trace(traced):
    """Run and release are children of the upload's span if the caller has none."""
    traced.call("digest", ROWS, span=None)
    traced.worker(pool="threads")
    offload, release = traced.span("claimcheck offload"), traced.span("claimcheck release")
    run = traced.span("run sample_app.digest")

    assert offload["parent_id"] is None
    assert {run["parent_id"], release["parent_id"]} == {ids(offload)[1]}


def test_a_shared_value_is_read_in_its_task(traced):
    """The read of a shared value is a span below that of its task, with the task's id and the key."""
    rows = pipeline.shared(ROWS, uses=1)
    result = traced.sample.digest.delay(rows)
    traced.worker(pool="prefork")
    run = traced.span("run sample_app.digest")
    [read] = [span for span in traced.spans() if span["attributes"].get("claimcheck.key") == rows.handle.key]

    assert (read["name"], read["parent_id"]) == ("claimcheck rehydrate", ids(run)[1])
    assert read["attributes"]["messaging.message.id"] == result.id
    assert read["attributes"]["celery.task_name"] == "sample_app.digest"


def test_a_context_that_the_caller_gives_stays(traced):
    """A traceparent among the caller's own headers is what the worker goes on from."""
    given = f"00-{'ab' * 16}-{'cd' * 8}-01"
    traced.call("digest", ROWS, headers={"traceparent": given})
    traced.worker(pool="threads")
    run = traced.span("run sample_app.digest")

    assert (run["context"]["trace_id"], run["parent_id"]) == (f"0x{'ab' * 16}", f"0x{'cd' * 8}")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_celerys_own_instrumentation_is_joined(traced, pool):
    """Beside opentelemetry-instrumentation-celery there is one trace, and no second span for the run."""
    traced.modes("celery")
    traced.call("digest", ROWS)
    traced.call("digest", ROWS, span=None)
    traced.worker(pool=pool, concurrency=1)
    eventually(lambda: sum(span["name"] == "claimcheck release" for span in traced.spans()) == 2)
    names = sorted(span["name"] for span in traced.spans())
    by_id = {ids(span): span for span in traced.spans()}
    ours = [span for span in traced.spans() if span["name"].startswith("claimcheck")]
    parents = {(span["name"], by_id[span["context"]["trace_id"], span["parent_id"]]["name"]) for span in ours}

    assert names == sorted(
        [
            "checkout",
            *["apply_async/sample_app.digest", "run/sample_app.digest"] * 2,
            *["claimcheck offload", "claimcheck rehydrate", "claimcheck release"] * 2,
        ]
    )
    assert len({span["context"]["trace_id"] for span in traced.spans()}) == 2
    assert parents == {
        ("claimcheck offload", "apply_async/sample_app.digest"),
        ("claimcheck rehydrate", "run/sample_app.digest"),
        ("claimcheck release", "apply_async/sample_app.digest"),
    }


def test_a_retry_is_a_child_of_the_attempt_that_sent_it(traced):
    """Attempts of one task are one trace, each a child of the one before, with its number."""
    traced.call("retry_twice", ROWS)
    traced.worker(pool="prefork")
    traced.span("claimcheck release")
    runs = [span for span in traced.spans() if span["name"] == "run sample_app.retry_twice"]

    assert [span["attributes"]["celery.retries"] for span in runs] == [0, 1, 2]
    assert [span["attributes"]["celery.state"] for span in runs] == ["RETRY", "RETRY", "SUCCESS"]
    assert [span["parent_id"] for span in runs[1:]] == [ids(span)[1] for span in runs[:2]]
    assert [span["status"]["status_code"] for span in runs] == ["UNSET"] * 3


def test_a_failed_span_has_the_class_alone(traced):
    """The span of a task that fails has the exception's class, and neither its text nor its traceback."""
    traced.call("fail", ROWS)
    traced.worker(pool="prefork")
    run = traced.span("run sample_app.fail")

    assert run["status"] == {"status_code": "ERROR"}
    assert run["attributes"]["error.type"] == "ValueError"
    assert "always fails" not in traced.text()


def test_the_last_spans_of_a_child_are_exported(traced):
    """A pool child ends without atexit; spans that wait for a batch are exported before."""
    traced.modes("batch")
    task_id = traced.call("digest", ROWS)
    worker = traced.worker(pool="prefork", concurrency=1)
    traced.result(task_id).get(timeout=30)
    traced.sample.eventually_empty()
    worker.stop()

    assert {"run sample_app.digest", "claimcheck rehydrate", "claimcheck release"} <= {
        span["name"] for span in traced.spans()
    }


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_broken_tracing_breaks_no_task(traced, pool):
    """When every span fails, tasks run and payloads go; it is logged once in a process."""
    traced.modes("broken")
    worker = traced.worker(pool=pool, concurrency=1)
    results = [traced.call("digest", ROWS, span=None) for _ in range(2)]
    for task_id in results:
        traced.result(task_id).get(timeout=30)
    traced.sample.eventually_empty()
    reported = [each for each in records(worker.text()) if each["name"] == "pipeline.telemetry.tracing"]

    assert 1 <= len(reported) <= 2  # in the child, and in main
    assert "broken sampler" in reported[0]["message"]
    assert traced.text() == ""
