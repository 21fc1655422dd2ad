"""Listeners report a denied permission, and need no more than the shipped policies allow."""

import json
from pathlib import Path
from uuid import uuid4

import pytest
from kombu import Exchange, Producer
from kombu.exceptions import OperationalError
from listening import DENIED, drain, listen, opened, publish, queues
from stacks import actions_of
from workers import eventually

from pipeline.transport.fanout import listeners
from pipeline.transport.fanout.mailbox import Mailbox

pytestmark = pytest.mark.aws

DEPLOY = Path(__file__).parents[3] / "deploy"
SNS = {"CreateTopic", "ListSubscriptionsByTopic", "Publish", "Subscribe", "Unsubscribe"}
KOMBUS = {"sqs:ListQueues"}
"""What Kombu asks for whenever it connects; other policies have it."""


def ping(state, **_):
    return "pong"


def questioned(mailbox, worker, asker):
    """Ping the one worker that listens on a connection, from another, and return the answers."""
    node = mailbox(worker).Node("w1@host", channel=worker.channel())
    node.handler(ping)
    node.listen()
    asking = mailbox(asker)
    wait = asker.drain_events

    def drain_both(timeout):
        worker.drain_events(timeout=1)
        return wait(timeout=timeout)

    asker.drain_events = drain_both
    return asking.multi_call("ping", timeout=20, limit=1)


class TestDenials:
    def test_a_monitor_without_permission_gets_an_error(self, moto_aws, proxy):
        """A monitor without permission gets an error that names the permission, and leaves no queue."""
        proxy.fail("Subscribe", status=403, content=DENIED)
        with opened() as connection, pytest.raises(OperationalError, match="AuthorizationError; allow"):
            listen(connection)

        assert queues(moto_aws) == []

    def test_a_command_that_is_not_published_is_an_error(self, moto_aws, proxy):
        """A remote control command that cannot be published raises to its sender."""
        proxy.fail("Publish", status=403, content=DENIED)
        with opened() as connection, pytest.raises(OperationalError, match="not published to exchange"):
            publish(connection, 1, exchange=Exchange("celery.pidbox", type="fanout", durable=False))

    def test_events_are_given_up_quietly(self, moto_aws, proxy, caplog):
        """Events that SNS denies are dropped with one warning, and are not retried at once."""
        rule = proxy.fail("Publish", status=403, content=DENIED)
        with opened() as connection:
            listen(connection)
            for number in range(50):
                publish(connection, number)
            eventually(lambda: rule.used)

        assert rule.used <= 2  # the second when the connection is closed
        assert len([record for record in caplog.records if "events not published" in record.message]) == 1

    def test_a_reply_without_a_reader_makes_no_queue(self, connection, aws):
        """A reply to a queue that is gone, or to an invalid name, is dropped."""
        exchange = Exchange("reply.celery.pidbox", type="direct", durable=False)
        producer = Producer(connection, exchange, serializer="json")
        for routing_key in (str(uuid4()), "default", "../x"):
            producer.publish({"ok": "pong"}, routing_key=routing_key, declare=[exchange])

        assert queues(aws) == []
        assert not aws.client("sqs").list_queues().get("QueueUrls")

    def test_fanout_may_be_off(self, moto_aws, proxy):
        """Without ``supports_fanout`` there is no remote control, and events go nowhere."""
        with opened(supports_fanout=False) as connection:
            assert not connection.supports_exchange_type("fanout")
            publish(connection, 1)

        assert proxy.operations["CreateTopic"] == proxy.operations["Publish"] == 0


def allowed(mode):
    """Return the actions that those may take who listen, and those who command them."""
    if mode == "create":
        return actions_of("Worker") | actions_of("Monitor")
    policy = json.loads((DEPLOY / f"iam-monitoring-{mode}.json").read_text())
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def actions(operations):
    """Return the permissions that calls need."""
    names = {name.removesuffix("Batch") for name in operations}
    return {f"{'sns' if name in SNS else 'sqs'}:{name}" for name in names}


class TestPermissions:
    def test_listeners_need_no_more_than_the_policy_allows(self, connection, aws, proxy, monkeypatch):
        """Listening, publishing, renewing, asking and leaving are within the policy that may create."""
        monkeypatch.setattr(listeners, "RENEW_SECONDS", 0.2)
        arrived, consumer = listen(connection)
        publish(connection, 1)
        drain(connection, arrived, 1)
        eventually(lambda: proxy.operations["TagQueue"])
        with opened() as asker:
            assert questioned(Mailbox("celery", type="fanout"), connection, asker) == [{"w1@host": "pong"}]
        consumer.cancel()

        assert actions(proxy.operations) - KOMBUS <= allowed("create")


class TestPredefined:
    def test_nothing_is_created(self, aws, proxy):
        """With predefined topics and queues, command and reply travel, and nothing is made or removed."""
        sns = aws.client("sns")
        topic = sns.create_topic(Name="given")["TopicArn"]
        urls = {name: aws.queue(f"given-{name}") for name in ("control", "replies")}
        arn = aws.attributes(urls["control"])["QueueArn"]
        raw = {"RawMessageDelivery": "true"}
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=raw)
        options = {
            "predefined_exchanges": {"celery.pidbox": {"arn": topic}},
            "predefined_queues": {
                "celery-pidbox": {"url": urls["control"]},
                "reply-celery-pidbox": {"url": urls["replies"]},
            },
        }
        made = proxy.operations
        with opened(**options) as worker, opened(**options) as asker:
            answers = questioned(Mailbox("celery", type="fanout"), worker, asker)

        assert answers == [{"w1@host": "pong"}]
        assert actions(proxy.operations - made) - KOMBUS <= allowed("predefined")
        assert aws.depth(urls["control"]).hidden == 0

    def test_queues_alone_are_not_enough(self, aws):
        """Remote control is off with predefined queues and no predefined topics."""
        with opened(predefined_queues={"tasks": {"url": aws.queue("tasks")}}) as connection:
            assert not connection.supports_exchange_type("fanout")
