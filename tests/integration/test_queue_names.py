"""What metrics call a task's queue: its name, on both sides, whatever exchange and routing key."""

import pytest
from workers import eventually

from pipeline.serializer import serializer

pytestmark = [pytest.mark.aws, pytest.mark.worker]


def counted(aws, metric):
    """Return the queues and tasks that a metric was counted for."""
    metrics = aws.client("cloudwatch").list_metrics(MetricName=metric)["Metrics"]
    named = [{it["Name"]: it["Value"] for it in each["Dimensions"]} for each in metrics]
    return {(each["Queue"], each["Task"]) for each in named if len(each) == 2}


@pytest.fixture
def shop(shop_of, moto_aws, monkeypatch):
    """A shop with queues on a topic exchange and a broadcast."""
    monkeypatch.setenv("SHOP_EXCHANGES", "yes")
    store = f"s3://{moto_aws.bucket()}/claims"
    return shop_of(store=store, options={"threshold_bytes": 0}, metrics=True)


def test_both_sides_count_for_the_same_queue(shop, moto_aws):
    """A topic exchange's queue, one named by the routing key alone, and a broadcast have one name each."""
    left = shop.app.amqp.queues[f"{shop.queue}-left"]
    worker = shop.worker(pool="threads", options=("-Q", f"{left.name},{shop.queue},everybody"))
    by_topic = {"exchange": "media", "routing_key": "media.x", "declare": [left]}
    shop.echo.apply_async(("x",), **by_topic).get(timeout=30)
    shop.retry_twice.apply_async(("x",), **by_topic).get(timeout=30)
    shop.double.apply_async((1,), exchange="", routing_key=shop.queue).get(timeout=30)
    shop.nap.apply_async(("x", 0), queue="everybody")
    eventually(lambda: "napping" in shop.notes())
    worker.stop()
    serializer.installed().recorder.close()

    expected = {
        (left.name, "shop.echo"),
        (left.name, "shop.retry_twice"),
        (shop.queue, "shop.double"),
        ("everybody", "shop.nap"),
    }
    assert counted(moto_aws, "TasksSucceeded") == expected
    assert counted(moto_aws, "PayloadsOffloaded") == expected
