"""Listeners receive every event, and their queues come back after a loss."""

import json
from time import time

import pytest
from kombu import Exchange
from listening import DENIED, drain, listen, opened, publish, queues, subscriptions
from sample_fixtures import entered
from workers import eventually

from pipeline.transport.fanout import listeners
from pipeline.transport.fanout.listeners import RENEWED

pytestmark = pytest.mark.aws


class TestListening:
    def test_every_listener_receives_every_event(self, connection, aws):
        """Two listeners each receive every event, though Celery declares a topic exchange for them."""
        (first, _), (second, _) = listen(connection), listen(connection)
        publish(connection, 1, 2, 3)

        assert drain(connection, first, 3) == [1, 2, 3]
        assert drain(connection, second, 3) == [1, 2, 3]

    def test_what_is_received_is_not_deleted(self, connection, proxy):
        """A queue hides what was received until it forgets it: no call deletes, nothing comes again."""
        arrived, _ = listen(connection)
        publish(connection, 1)
        drain(connection, arrived, 1)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.1)

        assert len(arrived) == 1
        assert proxy.operations["DeleteMessage"] == proxy.operations["DeleteMessageBatch"] == 0

    def test_a_dead_listener_piles_up_little(self, connection, aws):
        """Its queue keeps messages for a minute, hides them longer, is encrypted, and has one source."""
        listen(connection)
        [url] = queues(aws)
        found = aws.attributes(url)
        [statement] = json.loads(found["Policy"])["Statement"]

        assert found["MessageRetentionPeriod"] == "60"
        assert int(found["VisibilityTimeout"]) > 60
        assert found["SqsManagedSseEnabled"] == "true"
        assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
        assert statement["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(":celeryev")

    def test_a_listener_that_goes_is_removed(self, connection, aws):
        """When its consumer is cancelled or its connection closed, queue and subscription go."""
        _, consumer = listen(connection)
        listen(connection)
        consumer.cancel()
        assert len(queues(aws)) == len(subscriptions(aws)) == 1
        connection.release()

        assert (queues(aws), subscriptions(aws)) == ([], [])

    def test_the_same_listener_may_come_again(self, connection, aws):
        """A returning listener gets a queue of a new name, since SQS blocks a deleted name for a minute."""
        _, consumer = listen(connection, "celeryev.mine")
        before = queues(aws)
        consumer.cancel()
        arrived, _ = listen(connection, "celeryev.mine")
        publish(connection, 1)

        assert drain(connection, arrived, 1) == [1]
        assert len(queues(aws)) == 1
        assert queues(aws) != before

    @pytest.mark.timeout(600)
    def test_200_listeners(self, ministack, monkeypatch, proxy_to):
        """Each of 200 listeners starts with the same few calls, and receives each event once."""
        aws = entered(ministack, monkeypatch)  # moto publishes to the first hundred
        proxy = proxy_to(aws.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        with opened() as connection:
            channel = connection.channel()
            for _ in range(200):
                listen(connection, channel=channel)
            before = proxy.operations
            publish(connection, 1)
            urls = queues(aws)

            assert len(urls) == 200
            assert before["CreateTopic"] == 1
            assert all(before[name] == 200 for name in ("CreateQueue", "GetQueueAttributes", "Subscribe"))
            assert before["GetQueueUrl"] == before["ListSubscriptionsByTopic"] == 0  # as Kombu would
            eventually(lambda: {aws.depth(url).waiting for url in urls} == {1})
            assert proxy.operations["Publish"] == 1

    def test_a_long_name_is_shortened(self, connection, aws):
        """A host name beyond SQS's 80 characters is shortened, and its worker still has a queue."""
        listen(connection, f"celery@{'host.' * 30}.celery.pidbox", Exchange("celery.pidbox", "fanout"))
        [url] = queues(aws)

        assert len(url.rpartition("/")[2]) <= 80


class TestRecovery:
    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch):
        """Renew listeners several times a second."""
        monkeypatch.setattr(listeners, "RENEW_SECONDS", 0.3)

    def test_a_listener_renews_its_queue(self, connection, aws):
        """A listener writes the time on its queue again and again."""
        listen(connection)
        [url] = queues(aws)
        aws.client("sqs").tag_queue(QueueUrl=url, Tags={RENEWED: "1"})

        eventually(lambda: float(tags(aws, url)[RENEWED]) > time() - 5)

    def test_a_topic_that_is_deleted_comes_back(self, connection, aws):
        """Events are published to a new topic, and listeners subscribe to it by themselves."""
        arrived, _ = listen(connection)
        [topic] = aws.client("sns").list_topics()["Topics"]
        for each in aws.client("sns").list_subscriptions()["Subscriptions"]:
            aws.client("sns").unsubscribe(SubscriptionArn=each["SubscriptionArn"])
        aws.client("sns").delete_topic(TopicArn=topic["TopicArn"])
        eventually(lambda: subscriptions(aws))
        publish(connection, 1)

        assert drain(connection, arrived, 1) == [1]

    def test_a_queue_that_is_deleted_comes_back(self, connection, aws):
        """A listener whose queue was deleted makes another one, and receives again."""
        arrived, _ = listen(connection)
        [before] = queues(aws)
        aws.client("sqs").delete_queue(QueueUrl=before)
        eventually(lambda: queues(aws) not in ([], [before]))
        publish(connection, 1)

        assert drain(connection, arrived, 1) == [1]

    def test_a_worker_waits_for_its_mailbox(self, moto_aws, proxy, caplog):
        """A worker makes its mailbox as soon as SNS permits it, and warns once before."""
        rule = proxy.fail("CreateTopic", status=403, times=2, content=DENIED)
        exchange = Exchange("celery.pidbox", type="fanout", durable=False)
        with opened() as connection:
            arrived, _ = listen(connection, "w1@host.celery.pidbox", exchange)
            eventually(lambda: subscriptions(moto_aws))
            publish(connection, 1, exchange=exchange)

            assert drain(connection, arrived, 1) == [1]
        assert rule.used == 2
        assert [record.levelname for record in caplog.records if "remote control" in record.message] == [
            "WARNING"
        ]


def tags(aws, url):
    return aws.client("sqs").list_queue_tags(QueueUrl=url).get("Tags", {})
