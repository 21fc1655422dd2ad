"""Celery's message protocol 1, whose body is one map: Celery's setting ``task_protocol`` still chooses it."""

import pickle

import pytest
from celery import Celery
from celery.canvas import Signature

import pipeline
from pipeline.deferred.body import deferred_in
from pipeline.serializer import serializer
from pipeline.transport.send import lingering


@pytest.fixture
def broker():
    return "memory://"


@pytest.fixture
def app(broker):
    app = Celery("orders", broker=broker, set_as_current=False)
    app.conf.task_protocol = 1
    pipeline.install(app, "memory://orders")
    yield app
    pipeline.uninstall()


def body_of(app, *args, **kwargs):
    link = Signature("orders.next", args=("x",), app=app)
    return app.amqp.as_task_v1("1", "orders.add", args, kwargs, callbacks=[link]).body


def test_the_body_is_offloaded_and_its_description_travels(app, claimcheck, store, noise):
    """The arguments alone are offloaded; id, callbacks and the like are there without a read."""
    sent = body_of(app, noise, name="x")
    found = serializer.decode(serializer.encode(sent))

    assert serializer.is_task(serializer.encode(sent))
    assert store.calls["put"] == 2
    assert "get" not in store.calls
    assert (found["task"], found["id"], found["callbacks"][0]["args"]) == ("orders.add", "1", ["x"])
    assert (list(found["args"]), dict(found["kwargs"])) == ([noise], {"name": "x"})
    assert {**sent, **found}.keys() == sent.keys()


def test_what_crosses_the_pipe_is_one_claim(app, claimcheck, store, noise):
    """Celery pickles both kinds of arguments to a pool process: they share one small claim, and one read."""
    found = serializer.decode(serializer.encode(body_of(app, noise, name="x")))
    sent = pickle.dumps((found["args"], found["kwargs"], {}))
    args, kwargs, _ = pickle.loads(sent)

    assert len(sent) < 2_000
    assert args.deferred is kwargs.deferred is deferred_in((args, kwargs, {}))
    assert (list(args), dict(kwargs)) == ([noise], {"name": "x"})
    assert store.calls == {"put": 1, "get": 1}


@pytest.mark.parametrize("threshold", [0])
def test_its_signatures_stay_in_the_message(app, claimcheck):
    """Celery's worker copies them before the payload is read, so none has its arguments in the payload."""
    found = serializer.decode(serializer.encode(body_of(app, 1)))

    assert found["callbacks"][0]["args"] == ["x"]


def test_ids_and_events_are_as_in_protocol_2(app):
    """Ids are texts, and an event does not carry the text of the arguments."""
    message = app.amqp.as_task_v1(5, "orders.add", ("secret",), create_sent_event=True, group_id=b"7")

    assert (message.body["id"], message.body["group"], message.body["taskset"]) == ("5", "7", "7")
    assert message.sent_event["args"] == ""


@pytest.mark.aws
@pytest.mark.parametrize("broker", ["sqs://"])
@pytest.mark.parametrize(("retries", "sent_count"), [(0, 0), (1, 1)])
def test_a_retry_is_sent_at_once(moto_aws, app, monkeypatch, retries, sent_count):
    """A batch collects every message but a retry, which ends the attempt that sends it."""
    monkeypatch.setattr(lingering, "SECONDS", 3_600)
    queue = moto_aws.queue(f"orders-{retries}")
    with pipeline.batch():
        app.send_task("orders.add", (1,), retries=retries, queue=f"orders-{retries}")
        in_the_block = sum(moto_aws.depth(queue))

    assert (in_the_block, sum(moto_aws.depth(queue))) == (sent_count, 1)
