"""Listeners' queues on their own, over real HTTP: made, kept alive, mended, removed, swept, predefined."""

import json
import math
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from uuid import uuid4

import pytest
from click.testing import CliRunner
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.exceptions import OperationalError
from sample_fixtures import entered
from workers import eventually

from pipeline.cli.main import main
from pipeline.transport import Transport
from pipeline.transport.fanout import events, listeners, warn_once
from pipeline.transport.fanout.listeners import RENEWED
from pipeline.transport.fanout.mailbox import Mailbox

pytestmark = pytest.mark.aws

DEPLOY = Path(__file__).parents[2] / "deploy"
LISTENER = "claimcheck-listener-"
SNS = {"CreateTopic", "ListSubscriptionsByTopic", "Publish", "Subscribe", "Unsubscribe"}
KOMBUS = {"sqs:ListQueues"}
"""What Kombu asks for whenever it connects; other policies have it."""
EVENTS = Exchange("celeryev", type="topic")
DENIED = b"""<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>
<Code>AuthorizationError</Code><Message>not authorized</Message></Error></ErrorResponse>"""


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Wait for no queue, and let no test know what another has received or warned of."""
    monkeypatch.setattr(events.Audience, "_called", -math.inf)
    monkeypatch.setattr(warn_once, "_logged", set())
    monkeypatch.setattr("pipeline.transport.fanout.listening.NEW_QUEUE_SECONDS", 0)


@contextmanager
def opened(**options):
    chosen = {
        "wait_time_seconds": 1,
        "polling_interval": 0,
        "event_gather_seconds": 0.2,
        "client-config": {"retries": {"total_max_attempts": 1}},
    }
    with Connection("sqs://", transport=Transport, transport_options={**chosen, **options}) as connection:
        connection.connect()
        yield connection


@pytest.fixture
def connection(aws, proxy):
    with opened() as connection:
        yield connection


def listen(connection, name=None, exchange=EVENTS, channel=None):
    """Listen as a monitor does, and return the list that events come into, and the consumer."""
    heard = []
    queue = Queue(
        name or f"celeryev.{uuid4()}",
        exchange,
        "#",
        auto_delete=True,
        durable=False,
        message_ttl=5,
        expires=60,
    )
    consumer = Consumer(channel or connection.channel(), [queue], no_ack=True, accept=["json"])
    consumer.register_callback(lambda body, _: heard.extend(body if isinstance(body, list) else [body]))
    consumer.consume()
    return heard, consumer


def publish(connection, *numbers, exchange=EVENTS):
    producer = Producer(connection, exchange, serializer="json")
    for number in numbers:
        producer.publish({"number": number}, routing_key="task.sent", declare=[exchange])


def drain(connection, heard, count):
    """Receive until so many events were heard, and return their numbers."""

    def received():
        with suppress(TimeoutError):
            connection.drain_events(timeout=1)
        return len(heard) >= count

    eventually(received)
    return sorted(event["number"] for event in heard)


def queues(aws):
    urls = aws.client("sqs").list_queues(QueueNamePrefix=LISTENER).get("QueueUrls", [])
    return sorted(urls)


def subscriptions(aws):
    found = aws.client("sns").list_subscriptions()["Subscriptions"]
    return sorted(each["Endpoint"].rpartition(":")[2] for each in found)


def ping(state, **_):
    return "pong"


def questioned(mailbox, worker, asker):
    """Ask the one worker that listens on a connection, from another, and return the answers."""
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


class TestListening:
    def test_everybody_hears_everything(self, connection, aws):
        """Two listeners each get every event, though Celery declares their exchange as a topic exchange."""
        (first, _), (second, _) = listen(connection), listen(connection)
        publish(connection, 1, 2, 3)

        assert drain(connection, first, 3) == [1, 2, 3]
        assert drain(connection, second, 3) == [1, 2, 3]

    def test_what_is_received_is_not_deleted(self, connection, proxy):
        """A queue hides what was received until it forgets it: no call deletes, nothing comes again."""
        heard, _ = listen(connection)
        publish(connection, 1)
        drain(connection, heard, 1)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.1)

        assert len(heard) == 1
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
        """A name is never used twice: SQS would refuse to make the queue for a minute."""
        _, consumer = listen(connection, "celeryev.mine")
        before = queues(aws)
        consumer.cancel()
        heard, _ = listen(connection, "celeryev.mine")
        publish(connection, 1)

        assert drain(connection, heard, 1) == [1]
        assert len(queues(aws)) == 1
        assert queues(aws) != before

    def test_200_listeners(self, ministack, monkeypatch, proxy_to):
        """Each of 200 listeners starts with the same few calls, and hears what is published once."""
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
        """SQS takes 80 characters; a worker on a host with a long name is heard all the same."""
        listen(connection, f"celery@{'host.' * 30}.celery.pidbox", Exchange("celery.pidbox", "fanout"))
        [url] = queues(aws)

        assert len(url.rpartition("/")[2]) <= 80


class TestMending:
    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch):
        """Renew listeners several times a second."""
        monkeypatch.setattr(listeners, "RENEW_SECONDS", 0.3)

    def test_a_listener_says_that_it_lives(self, connection, aws):
        """It writes the time on its queue again and again."""
        listen(connection)
        [url] = queues(aws)
        aws.client("sqs").tag_queue(QueueUrl=url, Tags={RENEWED: "1"})

        eventually(lambda: float(tags(aws, url)[RENEWED]) > time() - 5)

    def test_a_topic_that_is_deleted_comes_back(self, connection, aws):
        """Events are published to a new topic, and listeners subscribe to it by themselves."""
        heard, _ = listen(connection)
        [topic] = aws.client("sns").list_topics()["Topics"]
        for each in aws.client("sns").list_subscriptions()["Subscriptions"]:
            aws.client("sns").unsubscribe(SubscriptionArn=each["SubscriptionArn"])
        aws.client("sns").delete_topic(TopicArn=topic["TopicArn"])
        eventually(lambda: subscriptions(aws))
        publish(connection, 1)

        assert drain(connection, heard, 1) == [1]

    def test_a_queue_that_is_deleted_comes_back(self, connection, aws):
        """The listener makes another one, and hears again."""
        heard, _ = listen(connection)
        [before] = queues(aws)
        aws.client("sqs").delete_queue(QueueUrl=before)
        eventually(lambda: queues(aws) not in ([], [before]))
        publish(connection, 1)

        assert drain(connection, heard, 1) == [1]

    def test_a_worker_waits_for_its_mailbox(self, moto_aws, proxy, caplog):
        """What SNS refuses at first is made as soon as it is allowed; that is warned about once."""
        rule = proxy.fail("CreateTopic", status=403, times=2, content=DENIED)
        exchange = Exchange("celery.pidbox", type="fanout", durable=False)
        with opened() as connection:
            heard, _ = listen(connection, "w1@host.celery.pidbox", exchange)
            eventually(lambda: subscriptions(moto_aws))
            publish(connection, 1, exchange=exchange)

            assert drain(connection, heard, 1) == [1]
        assert rule.used == 2
        assert [record.levelname for record in caplog.records if "remote control" in record.message] == [
            "WARNING"
        ]


class TestRefusals:
    def test_a_monitor_is_told(self, moto_aws, proxy):
        """Whoever may not listen gets one sentence that says what to allow, and leaves nothing."""
        proxy.fail("Subscribe", status=403, content=DENIED)
        with opened() as connection, pytest.raises(OperationalError, match="AuthorizationError; allow"):
            listen(connection)

        assert queues(moto_aws) == []

    def test_whoever_commands_is_told(self, moto_aws, proxy):
        """A command that cannot be published is an error of whoever sends it."""
        proxy.fail("Publish", status=403, content=DENIED)
        with opened() as connection, pytest.raises(OperationalError, match="not published to exchange"):
            publish(connection, 1, exchange=Exchange("celery.pidbox", type="fanout", durable=False))

    def test_events_are_given_up_quietly(self, moto_aws, proxy, caplog):
        """Events that SNS refuses are dropped with one warning, and it is not asked again at once."""
        rule = proxy.fail("Publish", status=403, content=DENIED)
        with opened() as connection:
            listen(connection)
            for number in range(50):
                publish(connection, number)
            eventually(lambda: rule.used)

        assert rule.used <= 2  # the second when the connection is closed
        assert len([record for record in caplog.records if "events not published" in record.message]) == 1

    def test_a_reply_to_nobody_makes_no_queue(self, connection, aws):
        """A reply to somebody who has gone, or to a name that is none, is dropped."""
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
    """Return the actions that a policy of ours allows."""
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
        heard, consumer = listen(connection)
        publish(connection, 1)
        drain(connection, heard, 1)
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
        """With predefined queues and no topics nobody may make any, so there is no remote control."""
        with opened(predefined_queues={"tasks": {"url": aws.queue("tasks")}}) as connection:
            assert not connection.supports_exchange_type("fanout")


def tags(aws, url):
    return aws.client("sqs").list_queue_tags(QueueUrl=url).get("Tags", {})


class TestSweep:
    def run(self, *words):
        result = CliRunner().invoke(main, ["-A", "sample_app", "sweep", "--json", *words])
        return result.exit_code, json.loads(result.stdout)

    def test_dead_listeners_are_swept(self, sample, moto_aws):
        """A queue that nobody renews is a finding, and goes with its subscription; one that lives stays."""
        with opened() as connection:
            listen(connection, "celeryev.dead")
            listen(connection, "celeryev.alive")
            dead = next(url for url in queues(moto_aws) if "dead" in url)
            moto_aws.client("sqs").tag_queue(QueueUrl=dead, Tags={RENEWED: str(time() - 1_000)})
            code, said = self.run()
            assert (code, said["listeners"], said["stale_listeners"], said["removed_listeners"]) == (
                1,
                2,
                1,
                0,
            )
            code, said = self.run("--delete")

            assert (code, said["removed_listeners"]) == (0, 1)
            assert len(queues(moto_aws)) == len(subscriptions(moto_aws)) == 1
            assert "alive" in queues(moto_aws)[0]

    def test_subscriptions_of_lost_queues_are_swept(self, sample, moto_aws):
        """A subscription whose queue somebody has deleted goes too."""
        with opened() as connection:
            listen(connection, "celeryev.lost")
            listen(connection, "celeryev.alive")
            lost = next(url for url in queues(moto_aws) if "lost" in url)
            moto_aws.client("sqs").delete_queue(QueueUrl=lost)
            code, said = self.run("--delete")

            assert (code, said["stale_listeners"], said["removed_listeners"]) == (0, 1, 1)
            assert len(subscriptions(moto_aws)) == 1

    def test_a_sweep_that_may_not_look_sweeps_payloads(self, sample, moto_aws, proxy):
        """Without permission for listeners, their sweep says so, and the rest is done."""
        refusal = b'{"__type":"com.amazonaws.sqs#AccessDenied","message":"no"}'
        proxy.fail("ListQueueTags", status=403, content=refusal)
        with opened() as connection:
            listen(connection)
            code, said = self.run()

        assert (code, said["listeners_error"]) == (0, "AccessDenied")
