"""Metrics, logs and spans name a task's queue on both sides, whatever exchange and routing key it came by."""

import logging
import re

import pytest
from traced_sample import Traced
from workers import eventually

from pipeline.serializer import serializer

pytestmark = [pytest.mark.aws, pytest.mark.worker]


def counted(aws, metric):
    """Return the queues and tasks that a metric was counted for."""
    metrics = aws.client("cloudwatch").list_metrics(MetricName=metric)["Metrics"]
    named = [{it["Name"]: it["Value"] for it in each["Dimensions"]} for each in metrics]
    return {(each["Queue"], each["Task"]) for each in named if len(each) == 2}


def logged(line, text):
    """Return the queues and tasks that the lines of a kind name."""
    lines = [each for each in text.splitlines() if line in each]
    return {
        tuple(re.search(rf"{name}=([^],]+)", each)[1] for name in ("queue", "task_name")) for each in lines
    }


@pytest.fixture
def sample(sample_of, moto_aws, monkeypatch):
    """A sample with queues on a topic exchange and a broadcast."""
    monkeypatch.setenv("SHOP_EXCHANGES", "yes")
    store = f"s3://{moto_aws.bucket()}/claims"
    return sample_of(store=store, options={"threshold_bytes": 0}, metrics=True)


def test_both_sides_count_for_the_same_queue(sample, moto_aws, caplog):
    """A topic exchange's queue, one named by the routing key alone, and a broadcast have one name each."""
    left = sample.app.amqp.queues[f"{sample.queue}-left"]
    worker = sample.worker(pool="threads", options=("-Q", f"{left.name},{sample.queue},everybody"))
    caplog.set_level(logging.INFO, "pipeline")
    by_topic = {"exchange": "media", "routing_key": "media.x", "declare": [left]}
    sample.echo.apply_async(("x",), **by_topic).get(timeout=30)
    sample.retry_twice.apply_async(("x",), **by_topic).get(timeout=30)
    sample.double.apply_async((1,), exchange="", routing_key=sample.queue).get(timeout=30)
    sample.nap.apply_async(("x", 0), queue="everybody")
    eventually(lambda: "napping" in sample.notes())
    worker.stop()
    serializer.installed().recorder.close()

    expected = {
        (left.name, "sample_app.echo"),
        (left.name, "sample_app.retry_twice"),
        (sample.queue, "sample_app.double"),
        ("everybody", "sample_app.nap"),
    }
    assert counted(moto_aws, "TasksSucceeded") == expected
    assert counted(moto_aws, "PayloadsOffloaded") == expected
    assert logged("payload offloaded", caplog.text) == expected
    assert logged("task ran", worker.text()) == expected


def test_spans_name_the_same_queue(sample, tmp_path):
    """Every span of a task that passed a topic exchange names the queue that it ran from."""
    traced = Traced(sample, tmp_path, bucket=None)
    queue = f"{sample.queue}-left"
    traced.worker(pool="threads", options=("-Q", queue))
    traced.call("echo", "x", queue=queue)
    traced.span("claimcheck release")
    ours = [span for span in traced.spans() if span["name"] != "checkout"]

    assert {span["name"].partition(" ")[0] for span in ours} == {"claimcheck", "run"}
    assert len(ours) == 4
    assert {span["attributes"]["messaging.destination.name"] for span in ours} == {queue}
