"""The ends of a payload that need a worker of their own kind, or none."""

import random
import re

import pytest
from celery import chord
from celery.exceptions import ChordError, TimeLimitExceeded
from kombu.exceptions import EncodeError
from shops import imported
from workers import eventually

from pipeline.serializer import serializer

pytestmark = [pytest.mark.aws, pytest.mark.worker]

ROWS = [{"id": i, "name": f"row {i}"} for i in range(50)]


def test_a_hard_time_limit_releases(shop):
    """A task killed by its hard time limit is a recorded failure: the payload goes."""
    shop.worker(pool="prefork")
    with pytest.raises(TimeLimitExceeded):
        shop.overtime.delay(ROWS).get(timeout=30)

    shop.eventually_empty()


@pytest.fixture
def overtime(shop):
    """The shop's tasks that slowly end by their hard time limit."""
    with imported("overtime") as module:
        yield module


def test_a_payload_is_there_while_a_time_limit_is_told(shop, overtime):
    """A hook that takes its time after a hard time limit still finds the arguments; then they go."""
    shop.worker(app="overtime", pool="prefork")
    overtime.hang.delay(ROWS)
    eventually(lambda: shop.notes() == [f"failed {len(ROWS)}"])

    shop.eventually_empty()


def test_a_retry_after_a_hard_time_limit_has_its_payload(shop, overtime):
    """A child that publishes its retry before it is killed has given it its payload."""
    shop.worker(app="overtime", pool="prefork")
    overtime.retry_late.delay(ROWS)
    eventually(lambda: len(shop.notes()) == 3)

    assert shop.notes() == [f"attempt 0 {len(ROWS)}", f"failed {len(ROWS)}", f"attempt 1 {len(ROWS)}"]
    shop.eventually_empty()


def test_a_lost_worker_runs_the_task_again(shop):
    """A child killed in the middle of a task keeps message and payload, and the task runs again."""
    shop.worker(pool="prefork")

    assert shop.suicide.delay(ROWS).get(timeout=60) == len(ROWS)
    assert shop.notes() == ["dying", "dying"]
    shop.eventually_empty()


@pytest.mark.parametrize("serializer_name", ["json", "pickle", "claimcheck"])
def test_result_extended_has_the_arguments(shop_of, moto_aws, serializer_name):
    """Arguments reach the result backend as with any Celery; where nobody read them, what stands for them."""
    conf = {
        "result_extended": True,
        "result_serializer": serializer_name,
        "result_accept_content": ["pickle", "json"],
    }
    shop = shop_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0}, conf=conf)
    shop.worker(pool="prefork")
    told, lost = shop.echo.delay(ROWS), shop.overtime.delay(value=ROWS)

    assert told.get(timeout=30) == ROWS
    assert (told.args, told.kwargs) == ([ROWS], {})
    with pytest.raises(TimeLimitExceeded):
        lost.get(timeout=30)
    assert re.search(r"<args.*: \d+ bytes in claims/v1/", repr(lost.args))
    assert "row 1" not in repr(lost.args)


def test_an_unserialisable_argument_is_named(shop):
    """The caller gets one error with the argument's path and type, and nothing is sent or stored."""
    with pytest.raises(EncodeError, match=r"path=\[0\]\[0\]\['rows'\]\[1\], type=builtins.complex"):
        shop.digest.delay({"rows": [1, 2j]})

    assert shop.objects() == []


def test_errors_of_a_chord_reach_its_caller(shop):
    """A failing header fails the chord, with every argument in the store."""
    shop.worker(pool="prefork")
    with pytest.raises((ChordError, ValueError)):
        chord([shop.add.s(1), shop.fail.s(2)], shop.total.s()).apply_async().get(timeout=30)

    shop.eventually_empty()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
@pytest.mark.parametrize(("name", "state"), [("digest_bytes", "SUCCESS"), ("fail", "FAILURE")])
def test_a_second_delivery_after_the_end_does_nothing(shop, pool, name, state):
    """A message delivered again after its payload was released runs nothing, and alarms nobody."""
    embed = {"callbacks": None, "errbacks": [shop.errback.s()], "chain": None, "chord": None}
    body = serializer.encode(([random.Random(1).randbytes(100)], {}, embed))
    worker = shop.worker(pool=pool)
    result = deliver(shop, name, body)
    eventually(lambda: result.state == state)
    shop.eventually_empty()
    noted = shop.notes()

    deliver(shop, name, body)
    eventually(lambda: "not rehydrated: task has ended already" in worker.text())
    eventually(lambda: f"Task shop.{name}[{result.id}] ignored" in worker.text())

    assert result.state == state
    assert shop.notes() == noted


def deliver(shop, name, body):
    """Put the message of one and the same task on the queue."""
    headers = shop.app.amqp.create_task_message("twice", f"shop.{name}", (), {}).headers
    queue = shop.app.amqp.queues[shop.queue]
    with shop.app.producer_or_acquire() as producer:
        producer.publish(
            body, routing_key=queue.name, exchange="", headers=headers, declare=[queue],
            content_type=serializer.CONTENT_TYPE, content_encoding="binary", correlation_id="twice",
        )  # fmt: skip
    return shop.app.AsyncResult("twice")
