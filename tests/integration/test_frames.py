"""An error of ours shows an error tracker neither the signing key nor anything of a payload."""

import secrets
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import ClassVar

import botocore
import pytest
from celery import Celery, Task
from celery.contrib.testing.worker import start_worker
from frames import OURS, chain, frames, leaks
from kombu.exceptions import EncodeError
from kombu.utils import json

import pipeline
from pipeline.claimcheck import claim
from pipeline.errors import PipelineError, StoreDeniedError, StoreUnavailableError
from pipeline.installation import uninstall
from pipeline.metrics import NullSink
from pipeline.serializer import serializer
from pipeline.stores.memory import MemoryStore
from pipeline.testing import FaultyStore

KEY = b"0123-the-signing-key-4567"
SECRET = "confidential"
ROWS = [f"{SECRET} {secrets.token_hex(20)}" for _ in range(200)]
KEYS = (KEY.decode(), KEY.hex())


class Broken:
    """A value whose type's decoder fails."""


@pytest.fixture
def broken():
    def fail(_):
        raise ValueError(SECRET)

    json.register_type(Broken, "broken", lambda _: SECRET, fail)
    yield Broken()
    json._encoders.pop(Broken)
    json._decoders.pop("broken")


@contextmanager
def opened(store, **options):
    """Open an app with a key, and a task that returns what hooks see."""
    app = Celery("sample_app", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(task_acks_late=True, result_serializer="claimcheck")
    options = {"threshold_bytes": 0, "store_retry_seconds": 0.1, "signing_key": KEY, **options}
    pipeline.install(app, store, metrics=NullSink(), **options)
    try:
        yield app
    finally:
        serializer.installed().recorder.close()
        uninstall()
        app.close()


def check(exc, *, everywhere):
    """Check that nothing is shown: in our frames, or in all of them."""
    assert [leak for key in KEYS for leak in leaks(exc, key)] == []
    assert leaks(exc, SECRET, "" if everywhere else OURS) == []
    assert not any(SECRET in str(each) for each in chain(exc) if isinstance(each, PipelineError))


def published(app, *args):
    """Publish a task that cannot be published, and return what its caller gets."""

    @app.task(shared=False, name="echo")
    def echo(value):
        return value

    with pytest.raises(EncodeError) as caught:
        echo.delay(*args)
    return caught.value


@pytest.mark.parametrize("error", [StoreDeniedError("no"), StoreUnavailableError("later")])
def test_a_publisher_without_store(error):
    """Our frames show nothing of a payload that could not be stored."""
    with opened(FaultyStore(MemoryStore(), fail=[error] * 99)) as app:
        check(published(app, ROWS), everywhere=False)


@pytest.mark.aws
def test_a_publisher_that_s3_denies(moto_aws, proxy, monkeypatch):
    """A denied request leaves no frame with payload, signature or token."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", token := "the-session-token")
    proxy.fail("PutObject", 403, content=b"<Error><Code>AccessDenied</Code></Error>")
    with opened(f"s3://{moto_aws.bucket()}/claims") as app:
        exc = published(app, ROWS)
        serializer.installed().store.close()

    check(exc, everywhere=False)
    assert leaks(exc, token) == []
    assert list(frames(exc, str(Path(botocore.__file__).parent))) == []


def test_a_publisher_with_a_value_of_an_unknown_type():
    """Our frames show nothing of the other arguments if one cannot be encoded."""
    with opened(MemoryStore()) as app:
        check(published(app, [*ROWS, object()]), everywhere=False)


def test_a_publisher_of_too_much():
    """Our frames show nothing of a payload that is too large."""
    with opened(MemoryStore(), payload_limit_bytes=100) as app:
        check(published(app, ROWS), everywhere=False)


@pytest.mark.parametrize(
    ("options", "conf"),
    [
        ({"threshold_bytes": -1}, {}),
        ({"treshold_bytes": 1}, {}),
        ({}, {"result_extended": True, "result_serializer": "yaml"}),
    ],
)
def test_an_installation_that_fails(options, conf):
    """Our frames do not show the key that a failing ``install`` was given."""
    app = Celery("sample_app", broker="memory://", set_as_current=False)
    app.conf.update(conf)
    with pytest.raises(ValueError, match=r"result_extended|threshold_bytes") as caught:
        pipeline.install(app, "memory://shop", signing_key=KEY, **options)

    assert leaks(caught.value, KEY.decode(), OURS) == []


class Looking(Task):
    """A task whose hook looks at its arguments, and keeps the error that it meets."""

    met: ClassVar = []

    def before_start(self, task_id, args, kwargs):
        try:
            list(args)
        except BaseException as exc:
            self.met.append(exc)
            raise


def ran(app, value, *, fault=None):
    """Publish a task, let a worker run it, and return the errors that its hook has met."""
    Looking.met.clear()

    @app.task(shared=False, name="look", base=Looking)
    def look(value):
        return len(value)

    look.delay(value)
    if fault:
        fault()
    with start_worker(app, pool="solo", perform_ping_check=False):
        for _ in range(200):
            if Looking.met:
                break
            sleep(0.05)
    return Looking.met


@pytest.mark.parametrize("damage", [None, b"", bytes(10)])
def test_a_worker_without_its_payload(damage):
    """No frame shows anything of a missing or corrupt payload."""
    store = MemoryStore()

    def harm():
        [found] = store.list()
        store.delete([found.key])
        if damage is not None:
            store.put(found.key, damage, {})

    with opened(store) as app:
        [met, *_] = ran(app, ROWS, fault=harm)
        check(met, everywhere=True)
        check(met.reason, everywhere=True)


@pytest.mark.parametrize("threshold_bytes", [0, 100_000])
def test_a_worker_that_cannot_decode(broken, threshold_bytes):
    """No frame shows anything of a payload that cannot be decoded, offloaded or inline."""
    with opened(MemoryStore(), threshold_bytes=threshold_bytes) as app:
        [met, *_] = ran(app, [*ROWS, broken])
        check(met, everywhere=True)
        check(met.reason, everywhere=True)


def test_a_reader_of_a_result(broken):
    """An undecodable result appears in no frame of ours in its reader's traceback."""
    with opened(MemoryStore(), result_threshold_bytes=0) as app:
        app.backend.store_result("id", [*ROWS, broken], "SUCCESS")
        with pytest.raises(PipelineError) as caught:
            app.AsyncResult("id").get()
        check(caught.value, everywhere=True)


def test_our_objects_show_nothing():
    """The ``repr`` of what this library makes of options and messages shows neither key nor arguments."""
    with opened(MemoryStore()) as app:
        claimcheck = serializer.installed()
        sealed = claimcheck.seal(ROWS)
        message = claim.Message(shape="task", payload=sealed, embed=SECRET.encode())
        body = serializer.decode(claim.write(message, KEY))
        for each in (claimcheck, claimcheck.options, sealed, message, body, app.amqp):
            assert not any(text in repr(each) for text in (SECRET, *KEYS))
