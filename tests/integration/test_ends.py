"""The ends of a payload that need a worker of their own kind, or none."""

import random
import re

import pytest
from celery import chord
from celery.exceptions import ChordError, TimeLimitExceeded
from kombu.exceptions import EncodeError
from sample_fixtures import imported
from workers import eventually

from pipeline.serializer import serializer

pytestmark = [pytest.mark.aws, pytest.mark.worker]

ROWS = [{"id": i, "name": f"row {i}"} for i in range(50)]


def test_a_hard_time_limit_releases(sample):
    """A task killed by its hard time limit is a recorded failure: the payload goes."""
    sample.worker(pool="prefork")
    with pytest.raises(TimeLimitExceeded):
        sample.overtime.delay(ROWS).get(timeout=30)

    sample.eventually_empty()


@pytest.fixture
def overtime(sample):
    """The sample's tasks that slowly end by their hard time limit."""
    with imported("overtime_app") as module:
        yield module


def test_a_payload_stays_until_a_time_limit_is_recorded(sample, overtime):
    """A hook that takes its time after a hard time limit still finds the arguments; then they go."""
    sample.worker(app="overtime_app", pool="prefork")
    overtime.hang.delay(ROWS)
    eventually(lambda: sample.notes() == [f"failed {len(ROWS)}"])

    sample.eventually_empty()


def test_a_retry_after_a_hard_time_limit_has_its_payload(sample, overtime):
    """A child that publishes its retry before it is killed has given it its payload."""
    sample.worker(app="overtime_app", pool="prefork")
    overtime.retry_late.delay(ROWS)
    eventually(lambda: len(sample.notes()) == 3)

    assert sample.notes() == [f"attempt 0 {len(ROWS)}", f"failed {len(ROWS)}", f"attempt 1 {len(ROWS)}"]
    sample.eventually_empty()


def test_a_lost_worker_runs_the_task_again(sample):
    """A child killed in the middle of a task keeps message and payload, and the task runs again."""
    sample.worker(pool="prefork")

    assert sample.suicide.delay(ROWS).get(timeout=60) == len(ROWS)
    assert sample.notes() == ["dying", "dying"]
    sample.eventually_empty()


@pytest.mark.parametrize("serializer_name", ["json", "pickle", "claimcheck"])
def test_result_extended_has_the_arguments(sample_of, moto_aws, serializer_name):
    """The result backend gets the arguments as with stock Celery, or a placeholder if they were not read."""
    conf = {
        "result_extended": True,
        "result_serializer": serializer_name,
        "result_accept_content": ["pickle", "json"],
    }
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0}, conf=conf)
    sample.worker(pool="prefork")
    echoed, lost = sample.echo.delay(ROWS), sample.overtime.delay(value=ROWS)

    assert echoed.get(timeout=30) == ROWS
    assert (echoed.args, echoed.kwargs) == ([ROWS], {})
    with pytest.raises(TimeLimitExceeded):
        lost.get(timeout=30)
    assert re.search(r"<args.*: \d+ bytes in claims/v1/", repr(lost.args))
    assert "row 1" not in repr(lost.args)


def test_an_unserialisable_argument_is_named(sample):
    """The caller gets one error with the argument's path and type, and nothing is sent or stored."""
    with pytest.raises(EncodeError, match=r"path=\[0\]\[0\]\['rows'\]\[1\], type=builtins.complex"):
        sample.digest.delay({"rows": [1, 2j]})

    assert sample.objects() == []


def test_errors_of_a_chord_reach_its_caller(sample):
    """A failing header fails the chord, with every argument in the store."""
    sample.worker(pool="prefork")
    with pytest.raises((ChordError, ValueError)):
        chord([sample.add.s(1), sample.fail.s(2)], sample.total.s()).apply_async().get(timeout=30)

    sample.eventually_empty()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
@pytest.mark.parametrize(("name", "state"), [("digest_bytes", "SUCCESS"), ("fail", "FAILURE")])
def test_a_second_delivery_after_the_end_does_nothing(sample, pool, name, state):
    """A message delivered again after its payload was released runs nothing and logs no error."""
    embed = {"callbacks": None, "errbacks": [sample.errback.s()], "chain": None, "chord": None}
    body = serializer.encode(([random.Random(1).randbytes(100)], {}, embed))
    worker = sample.worker(pool=pool)
    result = deliver(sample, name, body)
    eventually(lambda: result.state == state)
    sample.eventually_empty()
    noted = sample.notes()

    deliver(sample, name, body)
    eventually(lambda: "not rehydrated: task has ended already" in worker.text())
    eventually(lambda: f"Task sample_app.{name}[{result.id}] ignored" in worker.text())

    assert result.state == state
    assert sample.notes() == noted


def deliver(sample, name, body):
    """Put the message of one and the same task on the queue."""
    headers = sample.app.amqp.create_task_message("twice", f"sample_app.{name}", (), {}).headers
    queue = sample.app.amqp.queues[sample.queue]
    with sample.app.producer_or_acquire() as producer:
        producer.publish(
            body, routing_key=queue.name, exchange="", headers=headers, declare=[queue],
            content_type=serializer.CONTENT_TYPE, content_encoding="binary", correlation_id="twice",
        )  # fmt: skip
    return sample.app.AsyncResult("twice")
