"""The steps of docs/howto/moving/brokers.md, from Redis to SQS."""

import json

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
OLD = "CELERY_BROKER_URL=redis://localhost:6379/0"
SEND = """
import os, json
os.environ["CELERY_BROKER_URL"] = {broker!r}
from celery import chord
from shop import app, label, total
rows = list(range(200_000))
sent = {calls}
print(json.dumps([each.id for each in sent]))
"""


@pytest.fixture
def steps(tmp_path, redis_server, moto_aws):
    """The page, with this test's Redis in place of its own."""
    redis_server.reset()
    made = Steps(
        "howto/moving/brokers.md", tmp_path, QUICK,
        {"redis://localhost:6379/": redis_server.url.removesuffix("0")},
    )  # fmt: skip
    made.old = redis_server.url
    made.results = Celery(backend=f"{redis_server.url.removesuffix('0')}1", set_as_current=False)
    yield made
    made.results.close()
    made.check_all_used()


def sent(steps, *calls):
    """Send tasks to the old broker, as a process that was not switched does, and return their ids."""
    return json.loads(steps.python(SEND.format(broker=steps.old, calls=f"[{', '.join(calls)}]")))


def test_the_steps_from_redis_to_sqs(steps, moto_aws):
    """Tasks, ETAs, chains and chords that are on Redis run on SQS after the move, and Redis is empty."""
    steps.write("shop.py")
    with steps.process(f"CELERY_BROKER_URL={steps.old} celery -A shop worker -P solo -l INFO") as log:
        first, waits = sent(steps, "total.delay(rows)", "total.apply_async([rows], countdown=3600)")
        eventually(lambda: f"{first}] succeeded" in log() and waits in log(), 60)
    late = sent(
        steps,
        "total.apply_async([rows], priority=3)",
        "(total.s(rows) | label.s('chain')).delay()",
        "chord([total.s([1]), total.s(rows)], label.s('chord')).delay()",
    )
    steps.run("CELERY_BROKER_URL=sqs:// pipeline")
    with steps.running("CELERY_BROKER_URL=sqs:// celery -A shop worker") as log:
        with steps.running("CELERY_BROKER_URL=sqs:// celery -A shop beat", "Sending due task"):
            eventually(lambda: "Task shop.tidy" in log(), 60)
        steps.write("move.py")
        steps.run("CELERY_BROKER_URL=sqs:// python")
        results = [steps.results.AsyncResult(each).get(timeout=60) for each in [first, *late]]
    left = steps.run("redis-cli")
    steps.run("redis-cli")

    assert left == ""
    assert results == [19999900000, 19999900000, "chain: 19999900000", "chord: [1, 19999900000]"]
    assert moto_aws.depth("celery") == (0, 0, 1)
