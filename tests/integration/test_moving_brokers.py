"""The steps of docs/howto/moving/brokers.md, from Redis and from RabbitMQ to SQS."""

import json
import re
from contextlib import ExitStack

import pytest
from celery import Celery
from page_steps import Steps
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

QUICK = """
app.conf.broker_transport_options = {**app.conf.broker_transport_options, "wait_time_seconds": 1}
app.conf.worker_enable_remote_control = False  # no command waits for its answers
app.conf.beat_schedule["tidy"]["schedule"] = 0.2
"""
SEND = """
import os, json
os.environ["CELERY_BROKER_URL"] = {broker!r}
from celery import chord
from shop import app, label, total
rows = list(range(200_000))
sent = {calls}
print(json.dumps([each.id for each in sent]))
"""
IN_AN_HOUR = "total.apply_async([rows], countdown=3600)"
LATE = (
    "total.apply_async([rows], priority=3)",
    "(total.s(rows) | label.s('chain')).delay()",
    "chord([total.s([1]), total.s(rows)], label.s('chord')).delay()",
)


class Move(Steps):
    """The page, with this test's Redis, or RabbitMQ, in place of its own."""

    def __init__(self, folder, old, redis):
        redis_root = redis.url.removesuffix("0")
        replaced = {
            "move.py redis://localhost:6379/0": f"move.py {old}",
            "redis://localhost:6379/": redis_root,
        }
        super().__init__("howto/moving/brokers.md", folder, QUICK, replaced)
        self.old, self.results = old, Celery(backend=f"{redis_root}1", set_as_current=False)

    def send(self, broker, *calls):
        """Send tasks as a process that knows this broker alone, and return their ids."""
        return json.loads(self.python(SEND.format(broker=broker, calls=f"[{', '.join(calls)}]")))

    def move(self, aws):
        """Move with tasks on both brokers, and return what they returned and the ids of those that ran."""
        self.write("shop.py")
        old_worker = f"CELERY_BROKER_URL={self.old} celery -A shop worker -P solo -l INFO"
        with ExitStack() as stack:
            with self.process(old_worker) as before:
                first, waits = self.send(self.old, "total.delay(rows)", IN_AN_HOUR)
                self.run("CELERY_BROKER_URL=sqs:// pipeline")
                after = stack.enter_context(self.running("CELERY_BROKER_URL=sqs:// celery -A shop worker"))
                second = self.switch(after)
                eventually(lambda: f"{first}] succeeded" in before() and waits in before(), 60)
            sent = [first, second, *self.hand_over()]
            results = [self.results.AsyncResult(each).get(timeout=60) for each in sent]
            eventually(lambda: aws.depth("celery") == (0, 0, 1), 30)  # the one that runs in an hour
        return results, re.findall(r"Task shop.(?:total|label)\[(\S+)\] succeeded", before() + after())

    def switch(self, after):
        """Publish to SQS, as beat does too, and return the id of a task that has run there."""
        with self.running("CELERY_BROKER_URL=sqs:// celery -A shop beat", "Sending due task"):
            (sent,) = self.send("sqs://", "total.delay(rows)")
            eventually(lambda: "Task shop.tidy" in after() and f"{sent}] succeeded" in after(), 60)
        return sent

    def hand_over(self):
        """Send what no worker of the old broker receives, move it, and return the ids."""
        sent = self.send(self.old, *LATE)
        self.write("move.py")
        self.run("CELERY_BROKER_URL=sqs:// python")
        return sent


@pytest.fixture
def moving(tmp_path, redis_server):
    """Return a function that opens the page for an old broker. It ends with all files and commands used."""
    redis_server.reset()
    opened = []

    def start(old):
        opened.append(Move(tmp_path, old, redis_server))
        return opened[-1]

    yield start
    for each in opened:
        each.results.close()
        each.check_all_used()


def check(results, ran):
    """Compare what the tasks returned, and fail if one of them ran twice, or one more ran."""
    assert results == [19999900000, 19999900000, 19999900000, "chain: 19999900000", "chord: [1, 19999900000]"]
    assert len(ran) == len(set(ran)) == 8


def test_the_steps_from_redis_to_sqs(moving, redis_server, moto_aws):
    """Each task, ETA, chain and chord on Redis runs once, there or on SQS, and Redis is empty."""
    steps = moving(redis_server.url)
    check(*steps.move(moto_aws))

    assert steps.run("redis-cli") == ""
    steps.run("redis-cli")
    steps.skip("rabbitmqctl")


def test_the_steps_from_rabbitmq_to_sqs(moving, rabbitmq_server, moto_aws):
    """Each task, ETA, chain and chord on RabbitMQ runs once, there or on SQS, and RabbitMQ is empty."""
    steps = moving(rabbitmq_server.url)
    steps.environment |= rabbitmq_server.access()
    check(*steps.move(moto_aws))

    steps.skip("redis-cli")
    steps.skip("redis-cli")
    steps.run("rabbitmqctl")
