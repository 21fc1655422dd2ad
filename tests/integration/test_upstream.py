"""Behaviour of Celery, Kombu and Python that the code depends on: an upgrade that changes it fails here."""

import inspect
import pickle
import signal
from types import SimpleNamespace

import ormsgpack
import pytest
from billiard import pool
from celery import Celery
from celery.app.amqp import AMQP
from celery.app.task import Task
from celery.contrib.testing.worker import start_worker
from celery.exceptions import MaxRetriesExceededError, Reject, SoftTimeLimitExceeded
from celery.worker import request as celery_request
from celery.worker.consumer.consumer import Consumer
from celery.worker.loops import asynloop
from kombu import serialization
from kombu.asynchronous import Hub, get_event_loop, set_event_loop
from kombu.asynchronous.http.curl import CurlClient
from kombu.exceptions import DecodeError, EncodeError
from kombu.message import Message
from kombu.transport.SQS import Channel, Transport
from kombu.utils.json import dumps, loads


@pytest.fixture
def calls():
    """A serializer that notes each call, registered for the length of a test."""
    noted = []

    def encode(body):
        noted.append(("encode", body))
        return dumps(body)

    def decode(body):
        noted.append(("decode", body))
        return loads(body)

    serialization.register("noting", encode, decode, "application/x-noting", "utf-8")
    yield noted
    serialization.unregister("noting")


@pytest.fixture
def app(calls):
    app = Celery("upstream", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(task_serializer="noting", accept_content=["noting", "json"], task_acks_late=True)
    yield app
    app.close()


def run(app, call):
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=20):
        return call().get(timeout=20)


def test_the_decoder_runs_twice_per_message(app, calls):
    """Once for the consumer's request object and once where the task runs: hence the deferred body."""

    @app.task(shared=False)
    def add(a, b):
        return a + b

    assert run(app, lambda: add.delay(1, 2)) == 3
    assert [name for name, body in calls].count("decode") == 2


def test_the_encoder_sees_the_body_alone(app, calls):
    """No task name, no id, no headers: hence the publication beside it."""
    with app.producer_or_acquire() as producer:
        app.amqp.send_task_message(
            producer, "t", app.amqp.create_task_message("id", "t", (1,), {}), queue="body"
        )

    ((_, body),) = calls
    assert body == ((1,), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})


def test_headers_may_change_while_the_body_is_encoded(app, calls, monkeypatch):
    """The publisher sends the same dict of headers that the encoder may change."""
    message = app.amqp.create_task_message("id", "t", (1,), {})
    monkeypatch.setitem(
        serialization.registry._encoders,
        "noting",
        serialization.codec("application/x-noting", "utf-8", lambda _: message.headers.update(late=1) or "x"),
    )
    with app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection)
        app.amqp.send_task_message(producer, "t", message, queue="headers")
        received = connection.default_channel.basic_get("headers")

    assert received.headers["late"] == 1


def test_encoder_errors_reach_the_caller_as_encode_errors(calls):
    """Every exception of an encoder becomes EncodeError, with its cause."""
    with pytest.raises(EncodeError) as caught:
        serialization.dumps(object(), serializer="noting")

    assert isinstance(caught.value.__cause__ or caught.value.args[0], TypeError)


def test_a_decode_error_is_acknowledged(calls):
    """An exception in a decoder loses the message: hence a decoder that never raises."""
    acked = []
    message = SimpleNamespace(
        ack=lambda: acked.append(True), content_type="", content_encoding="", headers={}, body=b"",
        delivery_info={}, properties={},
    )  # fmt: skip
    with pytest.raises(DecodeError):
        serialization.loads(b"{", "application/x-noting", "utf-8", accept={"application/x-noting"})

    Consumer.on_decode_error(SimpleNamespace(), message, DecodeError())

    assert acked == [True]


def test_reject_is_an_outcome_that_main_understands():
    """A Reject raised by a task reaches the main process with its reason, and requeues if it says so."""
    reject = pickle.loads(pickle.dumps(Reject(ValueError("why"), requeue=True)))

    assert (str(reject.reason), reject.requeue) == ("why", True)
    assert "isinstance(exc, Reject)" in inspect.getsource(celery_request.Request.on_failure)


def test_the_request_class_of_a_task_calls_nothing_above_its_own_success():
    """Hence a mixin that takes ``on_success`` from the instance."""
    source = inspect.getsource(celery_request.create_request_cls)

    assert "callback=self.on_success" in source
    assert "super()" not in source


def test_message_payload_is_kept_if_it_is_true():
    """Kombu decodes again whenever the decoded body is false: a body of three items never is."""
    source = inspect.getsource(Message.payload.fget)

    assert "if self._decoded_cache" in source


def test_stock_kombu_swallows_an_expired_receipt_handle():
    """Hence a transport whose acknowledgement raises unless the message is gone."""
    source = inspect.getsource(Channel.basic_ack)

    assert "'ReceiptHandleIsInvalid'" in source
    assert Transport.connection_errors


def test_kombu_forgets_an_event_loop_that_is_reset():
    """Hence a consumer that names it again before it connects anew: Celery resets it, and does not."""
    set_event_loop(hub := Hub())
    try:
        hub.reset()
        assert get_event_loop() is None
    finally:
        hub.close()
        set_event_loop(None)
    assert "hub.reset()" in inspect.getsource(asynloop)
    assert "set_event_loop" not in inspect.getsource(asynloop) + inspect.getsource(Consumer)


def test_kombu_sets_no_timeout_for_curl():
    """Hence ours, which is set where curl has taken a request on."""
    source = inspect.getsource(CurlClient._setup_request)

    assert "TIMEOUT" not in source
    assert source.rstrip().endswith("request.on_prepare(curl)")


def test_a_task_out_of_retries_shows_its_arguments():
    """Hence an error class of ours that leaves them out."""
    source = inspect.getsource(Task.retry)

    assert "args:{} kwargs:{}" in source
    assert issubclass(Task.MaxRetriesExceededError, MaxRetriesExceededError)


class KeywordOnlyError(Exception):
    def __init__(self, *, why):
        super().__init__(why)


def test_an_error_with_keyword_arguments_does_not_survive_pickling():
    """Hence positional arguments in every error of ours."""
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(KeywordOnlyError(why="x")))


def test_publishing_goes_through_two_methods():
    """The publisher extends these, and Celery takes them from the class that the app names."""
    assert {"as_task_v2", "_create_task_sender"} <= vars(AMQP).keys()
    assert Celery.amqp_cls == "celery.app.amqp:AMQP"


def test_unpacking_accepts_any_sequence_and_mapping():
    """``fun(*args, **kwargs)`` reads lazily, and lets exceptions through unchanged."""

    class Lazy:
        def keys(self):
            raise Reject("from keys")

        def __iter__(self):
            raise Reject("from iter")

        def __getitem__(self, key):
            raise AssertionError

    with pytest.raises(Reject, match="from keys"):
        dict(**Lazy())
    with pytest.raises(Reject, match="from iter"):
        max(*Lazy())


def test_billiard_s_handler_of_a_soft_time_limit_is_known_by_its_module():
    """The handler that a pool process has for SIGUSR1 raises, and says whose it is."""
    assert pool.soft_timeout_sighandler.__module__ == "billiard.pool"
    assert pool.SIG_SOFT_TIMEOUT is signal.SIGUSR1
    with pytest.raises(SoftTimeLimitExceeded):
        pool.soft_timeout_sighandler(signal.SIGUSR1, None)


def test_ormsgpack_forgets_what_its_hook_raises():
    """Every exception of a hook reaches the caller as ValueError without a cause."""
    with pytest.raises(ValueError, match="ext_hook failed") as caught:
        ormsgpack.unpackb(ormsgpack.packb(ormsgpack.Ext(1, b"")), ext_hook=lambda *_: 1 // 0)

    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
