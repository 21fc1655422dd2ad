"""The fixture ``claimcheck_app``, which pytest has from this library's own plugin."""

import logging
import os

import pytest
from app_state import cached, state
from celery import Celery, _state, shared_task
from celery.backends.cache import _DUMMY_CLIENT_CACHE
from kombu import pools
from kombu.exceptions import EncodeError
from kombu.transport import memory

import pipeline
from pipeline.metrics import NullSink
from pipeline.metrics.sinks.cloudwatch import CloudWatchSink
from pipeline.serializer import serializer
from pipeline.testing.memory_app import in_memory
from pipeline.transport.send.collecting import producers

LARGE = list(range(300_000))


@pytest.fixture
def celery_app():
    app = Celery("sample_app", broker="sqs://", backend="redis://", set_as_current=False)

    @app.task(name="total", shared=False)
    def total(orders, scale=1):
        return sum(orders) * scale

    @app.task(name="again", shared=False, bind=True)
    def again(self, orders):
        if not self.request.retries:
            raise self.retry(countdown=0)
        return len(orders)

    yield app
    pipeline.uninstall()
    app.close()


@pytest.fixture
def total(celery_app):
    return celery_app.tasks["total"]


def test_what_was_sent_is_noted(claimcheck_app, total):
    """A task that was sent is noted with its very arguments, its sizes and its payload's key."""
    result = total.delay(LARGE, scale=2)

    (sent,) = claimcheck_app.sent
    (payload,) = claimcheck_app.payloads
    assert (sent.name, sent.id, sent.kwargs) == ("total", result.id, {"scale": 2})
    assert sent.args[0] is LARGE
    assert sent.is_offloaded
    assert sent.key == payload.key
    assert sent.payload_bytes > 1_000_000
    assert sent.wire_bytes < 8_192
    assert "299999" not in repr(sent)


def test_a_small_task_has_no_payload(claimcheck_app, total):
    """A task that travels inline is noted without a key."""
    total.delay([1])

    assert [(it.key, it.is_offloaded) for it in claimcheck_app.sent] == [(None, False)]
    assert claimcheck_app.payloads == []


def test_a_task_that_cannot_be_sent_is_not_noted(claimcheck_app, total):
    """What the publisher gets an error for was not sent."""
    with pytest.raises(EncodeError):
        total.delay(object())

    assert claimcheck_app.sent == []


def test_a_worker_runs_retries_and_releases(claimcheck_app, total):
    """A worker on a thread runs tasks and their retries; when it has ended, their payloads are released."""
    results = [total.delay(LARGE), claimcheck_app.app.tasks["again"].delay(LARGE)]
    with claimcheck_app.worker():
        assert [it.get(timeout=20) for it in results] == [sum(LARGE), len(LARGE)]

    assert [it.name for it in claimcheck_app.sent] == ["total", "again", "again"]
    assert claimcheck_app.payloads == []


@pytest.mark.claimcheck(publish=False)
def test_offloading_can_be_turned_off(claimcheck_app, total):
    """With ``publish=False`` a large task is sent as the app sends it without the claim check."""
    result = total.apply_async([LARGE], queue="bulk")
    with claimcheck_app.worker(pool="threads", queues=["bulk"]):
        assert result.get(timeout=20) == sum(LARGE)

    (sent,) = claimcheck_app.sent
    assert (sent.is_offloaded, sent.payload_bytes, sent.wire_bytes) == (False, None, None)
    assert claimcheck_app.payloads == []


@pytest.mark.claimcheck(threshold_bytes=0)
def test_shared_tasks_are_tasks_of_the_app(claimcheck_app):
    """During a test the app is the current one, for tasks that are shared among apps."""

    @shared_task(name="shared")
    def shared():
        return 1

    shared.delay()

    assert [it.name for it in claimcheck_app.sent] == ["shared"]
    assert len(claimcheck_app.payloads) == 1


def test_an_eager_task_is_encoded_and_not_offloaded(claimcheck_app, total):
    """Eagerly, arguments that cannot be sent are an error, and large ones need no store."""
    claimcheck_app.app.conf.task_always_eager = True

    assert total.delay(LARGE).get() == sum(LARGE)
    assert total.apply(args=[LARGE]).get() == sum(LARGE)
    with pytest.raises(EncodeError):
        total.delay(object())
    assert (claimcheck_app.sent, claimcheck_app.payloads) == ([], [])


def process():
    """Return what of this process a test in memory changes."""
    queues = {name: queue.qsize() for name, queue in memory.Channel.queues.items()}
    current = (_state.default_app, vars(_state._tls).get("current_app"))
    logs = (logging.getLogger().level, list(logging.getLogger().handlers))
    counts = [len(group) for group in (pools.connections, pools.producers, producers)]
    return queues, current, logs, counts, dict(_DUMMY_CLIENT_CACHE), os.environ.get("CELERY_BROKER_URL")


@pytest.mark.parametrize("is_installed", [False, True])
def test_nothing_survives(celery_app, total, monkeypatch, is_installed):
    """Afterwards app and process are as they were, whether or not the application has installed."""
    monkeypatch.setenv("CELERY_BROKER_URL", "sqs://")
    made = pipeline.install(celery_app, "memory://shop", metrics=NullSink()) if is_installed else None
    assert all([celery_app.amqp, celery_app.control])
    before, kept = (state(celery_app), process()), cached(celery_app)
    with in_memory(celery_app) as inside:
        inside.app.conf.task_default_queue = "other"
        result = total.delay(LARGE)
        with inside.worker():
            assert result.get(timeout=20) == sum(LARGE)
        total.delay(LARGE)

    assert (state(celery_app), process()) == before
    assert is_installed or cached(celery_app) == kept
    assert not is_installed or serializer.installed() is made


class Configuration:
    """As a Django project has it."""

    CELERY_BROKER_URL = "sqs://"
    CELERY_RESULT_BACKEND = "redis://"
    CELERY_TASK_ALWAYS_EAGER = True
    CELERY_CLAIMCHECK_STORE = "s3://bucket/claims"
    CELERY_CLAIMCHECK_KMS_KEY_ID = "key"
    CELERY_CLAIMCHECK_SERVER_SIDE_ENCRYPTION = "aws:kms"
    CELERY_CLAIMCHECK_METRICS = "no sink, and not looked at"
    CELERY_CLAIMCHECK_THRESHOLD_BYTES = 0


def test_an_app_may_be_configured_by_an_object():
    """Settings are read when an app is opened, those for S3 and metrics aside, and are there afterwards."""
    app = Celery("sample_app", set_as_current=False)
    app.config_from_object(Configuration, namespace="CELERY")
    with in_memory(app) as inside:
        app.send_task("total", [[1]])
        assert len(inside.payloads) == 1

    conf = app.conf
    assert (conf.broker_url, conf.result_backend, conf.task_always_eager) == ("sqs://", "redis://", True)


def test_an_error_in_a_test_leaves_nothing(celery_app):
    """A test that fails is undone like any other, also if options of it are wrong."""
    before = state(celery_app)
    with pytest.raises(ValueError, match="unknown option treshold"), in_memory(celery_app, treshold=1):
        pass
    with pytest.raises(KeyError), in_memory(celery_app):
        raise KeyError

    assert state(celery_app) == before


def test_the_applications_options_hold(celery_app, total):
    """An app that is installed already has its own options in the test, but for those that the test gives."""
    pipeline.install(celery_app, "memory://shop", threshold_bytes=0, codec="pickle")
    with in_memory(celery_app, codec="msgpack") as inside:
        options = inside.claimcheck.options
        total.delay([1])

        assert (options.threshold_bytes, options.codec) == (0, "msgpack")
        assert len(inside.payloads) == 1
    with in_memory(celery_app, publish=False) as inside:
        total.delay([1])

        assert inside.payloads == []


def test_settings_of_a_deployment_do_not_hold(celery_app, total):
    """Of an app's settings, options hold in a test; its store, its encryption and its metrics do not."""
    celery_app.conf.update(
        claimcheck_store="s3://payloads",
        claimcheck_server_side_encryption="aws:kms",
        claimcheck_kms_key_id="alias/mine",
        claimcheck_metrics=CloudWatchSink(),
        claimcheck_threshold_bytes=0,
    )
    with in_memory(celery_app) as given:
        total.delay([1])

        assert len(given.payloads) == 1
        assert isinstance(given.claimcheck.recorder._sink, NullSink)


def test_apps_nest(claimcheck_app, total):
    """An app in memory may be opened in a test that has one; the outer one is as it was afterwards."""
    total.delay(LARGE)
    other = Celery("other", broker="sqs://", set_as_current=False)
    before = state(claimcheck_app.app), process()
    with in_memory(other) as inside:
        other.send_task("count", [LARGE])
        assert len(inside.payloads) == 1

    assert (state(claimcheck_app.app), process()) == before
    with claimcheck_app.worker():
        pass
    assert claimcheck_app.payloads == []


def test_a_test_may_uninstall(celery_app):
    """A test that takes the claim check away itself does not take the application's."""
    made = pipeline.install(celery_app, "memory://shop")
    before = state(celery_app)
    with in_memory(celery_app):
        pipeline.uninstall()
        pipeline.uninstall()

    assert serializer.installed() is made
    assert state(celery_app) == before
