"""Events reach the tasks of a real worker: over SNS with filters, and over EventBridge with rules."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from door_sample import behind_doors
from sample_fixtures import cleared
from workers import eventually

import pipeline
from pipeline.events import Event, EventBus, Notification, Topic

pytestmark = [pytest.mark.aws, pytest.mark.worker]

TEXT = "x" * 300_000


@pytest.fixture(scope="module")
def standing(ministack, tmp_path_factory):
    """A worker behind two subscriptions of a topic, and behind a rule of a bus; the app signs."""
    directory, queues = tmp_path_factory.mktemp("events"), ("sns", "raw", "events")
    with behind_doors(ministack, directory, queues, SHOP_SIGNING_KEY="k" * 32) as sample:
        yield sample


@pytest.fixture
def sample(standing, ministack, monkeypatch):
    return cleared(standing, ministack, monkeypatch)


def arn(sample, door):
    return eventually(lambda: sample.aws.attributes(f"{sample.queue}-{door}")["QueueArn"])


def noted(sample, *notes):
    eventually(lambda: sorted(sample.notes()) == sorted(notes), message=f"noted: {sample.notes()}")


@pytest.fixture(scope="module")
def topic_arn(standing):
    """A topic with a filter on a number for one queue, and on a text for the other, which takes it raw."""
    sns = standing.aws.client("sns")
    topic = sns.create_topic(Name="orders")["TopicArn"]
    expensive = {"FilterPolicy": json.dumps({"amount": [{"numeric": [">", 100]}]})}
    created = {"FilterPolicy": json.dumps({"kind": ["created"]}), "RawMessageDelivery": "true"}
    for door, attributes in (("sns", expensive), ("raw", created)):
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn(standing, door), Attributes=attributes)
    return topic


def test_fan_out(sample, topic_arn):
    """One large message reaches the queues whose filters match, and its payload ends with the last task."""
    topic = Topic(topic_arn, subscribers=2)
    topic.publish({"name": "both", "text": TEXT}, {"kind": "created", "amount": 100.5})

    noted(sample, "both 300000 0 amount=100.5", "both 300000 0 amount=100.5")
    sample.eventually_empty()


def test_filters(sample, topic_arn):
    """Filters see the attributes of small and large messages; without a count, the payload stays."""
    Topic(topic_arn).publish_batch(
        [
            Notification(value={"name": "raw alone"}, attributes={"kind": "created", "amount": 100}),
            Notification(value={"name": "nobody", "text": TEXT}, attributes={"amount": 7}),
            Notification(
                value={"name": "retried", "text": TEXT, "again": True}, attributes={"amount": 2**31}
            ),
        ]
    )

    noted(
        sample,
        "raw alone 0 0 amount=100",
        "retried 300000 0 amount=2147483648",
        "retried 300000 1 amount=2147483648",
    )
    assert len([key for key in sample.objects() if "/handles/7d/" in key]) == 2


def test_a_handle_over_sns(sample, topic_arn):
    """A handle that counts its uses is shared by the queues, and its payload ends with the last task."""
    handle = pipeline.put(b"content", name="a.txt", uses=2)
    Topic(topic_arn).publish(handle, {"kind": "created", "amount": 101})

    noted(sample, "a.txt 7 0 amount=101", "a.txt 7 0 amount=101")
    sample.eventually_empty()


@pytest.fixture(scope="module")
def bus_name(standing):
    """A bus with an archive, and a rule on a number and a text."""
    events = standing.aws.client("events")
    bus = events.create_event_bus(Name="orders")["EventBusArn"]
    pattern = {"source": ["shop"], "detail": {"amount": [{"numeric": [">", 100]}], "kind": ["created"]}}
    events.put_rule(Name="expensive", EventBusName="orders", EventPattern=json.dumps(pattern))
    events.put_targets(
        Rule="expensive", EventBusName="orders", Targets=[{"Id": "queue", "Arn": arn(standing, "events")}]
    )
    events.create_archive(ArchiveName="orders", EventSourceArn=bus)
    return "orders"


def order(name, amount, **more):
    return {"name": name, "kind": "created", "amount": amount, **more}


def replay(sample, since):
    """Replay the bus's archive."""
    events = sample.aws.client("events")
    archive = events.describe_archive(ArchiveName="orders")
    events.start_replay(
        ReplayName="again",
        EventSourceArn=archive["ArchiveArn"],
        EventStartTime=since,
        EventEndTime=datetime.now(UTC) + timedelta(minutes=1),
        Destination={"Arn": archive["EventSourceArn"]},
    )


def test_events(sample, bus_name):
    """A rule matches on kept fields of large events; a replay after the payload's end is a dead letter."""
    since = datetime.now(UTC) - timedelta(minutes=1)
    bus = EventBus(bus_name, source="shop", keep=("amount", "kind"), limit_bytes=256_000)
    bus.put_events(
        [
            Event("Order", order("small", 101)),
            Event("Order", order("large", 500, text=TEXT)),
            Event("Order", order("cheap", 99, text=TEXT)),
        ]
    )
    noted(sample, "small 0 0 detail_type=Order", "large 300000 0 detail_type=Order")
    sample.clear()
    replay(sample, since)

    noted(sample, "small 0 0 detail_type=Order")
    eventually(lambda: sum(sample.aws.depth(f"{sample.queue}-events-dlq")) == 1)
    assert "payload of an event missing" in sample.running.text()
    assert "replay archives within the ttl_days" in sample.running.text()
