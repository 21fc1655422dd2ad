"""Payloads that obstore carries keep the rules of every store, and boto3 does what obstore cannot do."""

import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading

import pytest
from s3_answers import xml
from sample_fixtures import entered
from store_rules import KIB, METADATA, MIB, RangeRules, in_child, payload_of

from pipeline.errors import (
    PayloadCorruptError,
    PayloadMissingError,
    StoreDeniedError,
    StoreUnavailableError,
)
from pipeline.stores.protocol import within
from pipeline.stores.s3 import obstore_transfer
from pipeline.stores.s3.store import S3Store

PAYLOAD = payload_of(300 * KIB)


@pytest.fixture
def aws(ministack, monkeypatch):
    """AWS on ministack alone: what differs between stand-ins is boto3's."""
    return entered(ministack, monkeypatch)


class TestObstore(RangeRules):
    """The store in S3 whose payloads obstore carries."""

    test_more_than_a_page = None  # boto3 carries objects so small

    @pytest.fixture
    def store(self, aws):
        store = S3Store(aws.bucket(), "/app/", payload_client="obstore")
        assert store.payloads_go_through() == "obstore"
        yield store
        store.close()


@pytest.fixture
def store(aws, proxy):
    """A store behind a proxy."""
    store = S3Store(aws.bucket(), "app", payload_client="obstore")
    yield store
    store.close()


def clients(proxy, operation):
    """Return which client sent each request of an operation."""
    agents = [request.headers["user-agent"] for request in proxy.seen(operation)]
    return ["boto3" if agent.startswith("Boto3") else "obstore" for agent in agents]


def test_what_obstore_carries(proxy, store):
    """Payloads of 64 KiB or more go through obstore, one request each, and smaller ones through boto3."""
    for key, payload in (("app/large", PAYLOAD), ("app/small", PAYLOAD[: obstore_transfer.LEAST_BYTES - 1])):
        store.put(key, payload, METADATA)
        assert store.get(key, len(payload)) == payload

    assert clients(proxy, "PutObject") == clients(proxy, "GetObject") == ["obstore", "boto3"]


def test_the_object_is_the_same(aws, store):
    """An object that obstore has put has the metadata, digest and encryption that boto3 gives it."""
    encrypted = S3Store(store.bucket, "app", payload_client="obstore", server_side_encryption="AES256")
    encrypted.put("app/a", PAYLOAD, METADATA)
    encrypted.close()

    head = aws.client("s3").head_object(Bucket=store.bucket, Key="app/a")
    assert head["Metadata"].pop("digest").startswith("blake3:")
    assert (head["Metadata"], head["ServerSideEncryption"]) == (METADATA, "AES256")


@pytest.mark.usefixtures("_no_view_left")
@pytest.mark.parametrize("verb", ["fail", "reset", "truncate", "lose"])
def test_boto3_repeats_what_fails(proxy, store, verb):
    """A request of obstore that fails is sent again by boto3, whose retries count."""
    getattr(proxy, verb)("PutObject", times=2)
    store.put("app/a", PAYLOAD, METADATA)
    getattr(proxy, verb)("GetObject", times=2)

    assert store.get("app/a", len(PAYLOAD)) == PAYLOAD
    assert clients(proxy, "PutObject")[:2] == clients(proxy, "GetObject")[:2] == ["obstore", "boto3"]


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDenied", 403, StoreDeniedError),
        ("SlowDown", 503, StoreUnavailableError),
        ("NoSuchKey", 404, PayloadMissingError),
        ("KMS.DisabledException", 400, StoreDeniedError),
    ],
)
def test_errors_are_those_of_the_table(proxy, store, code, status, error):
    """What S3 answers means the same with obstore."""
    proxy.fail(status=status, content=xml(code))

    for call in (lambda: store.put("app/a", PAYLOAD, {}), lambda: store.get("app/a", len(PAYLOAD))):
        with pytest.raises(error, match=rf"key=app/a.*{code}"):
            call()


def test_another_size_is_corrupt(aws):
    """An object of another size is corrupt, whichever part of it was expected."""
    store = S3Store(aws.bucket(), "app", payload_client="obstore")
    store.put("app/a", PAYLOAD, {})

    for size_bytes in (len(PAYLOAD) - 1, len(PAYLOAD) + 1, 9 * MIB):
        with pytest.raises(PayloadCorruptError, match="app/a"):
            store.get("app/a", size_bytes)
    store.close()


def test_silence_is_one_attempt(aws, proxy):
    """A server that does not answer costs one timeout, and the caller's retry limit decides on the next."""
    store = S3Store(aws.bucket(), "app", timeout_seconds=1, payload_client="obstore")
    proxy.delay(20)

    for call in (lambda: store.put("app/a", PAYLOAD, {}), lambda: store.get("app/a", len(PAYLOAD))):
        with pytest.raises(StoreUnavailableError, match=r"key=app/a\]: no whole answer within 1"):
            call()
    assert len(proxy.requests) == 2
    store.close()


def test_a_slow_answer_is_bounded_as_a_whole(proxy, store):
    """An answer that comes byte by byte is never silent, and given up at the caller's deadline."""
    store.put("app/a", PAYLOAD, {})
    slow = proxy.trickle("GetObject")

    with within(0.5), pytest.raises(StoreUnavailableError, match="no whole answer within 0"):
        store.get("app/a", len(PAYLOAD))
    assert slow.used == 1


def test_a_signal_ends_the_wait(aws, proxy):
    """The handler of a signal, such as that of a soft time limit, runs while obstore waits."""
    store = S3Store(aws.bucket(), "app", timeout_seconds=30, payload_client="obstore")
    interrupted, was_interrupted = threading.Event(), queue.Queue()

    def hold(link, request, content):
        os.kill(os.getpid(), signal.SIGUSR1)
        was_interrupted.put(interrupted.wait(10))
        return False

    def interrupt(*_):
        interrupted.set()
        raise TimeoutError("soft limit")

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        proxy._order("hold", "GetObject", 1, hold)
        with pytest.raises(TimeoutError, match="soft limit"):
            store.get("app/a", len(PAYLOAD))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert was_interrupted.get(timeout=20)
    store.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_of_a_process_that_uses_obstore(proxy, store):
    """A forked child of a process that uses obstore uses boto3, and its children do, too."""
    store.put("app/a", PAYLOAD, METADATA)

    def work():
        assert store.payloads_go_through().startswith("boto3: this process was forked")
        assert store.get("app/a", len(PAYLOAD)) == PAYLOAD

    assert in_child(work)
    assert in_child(lambda: work() or (in_child(work) or os._exit(1)))
    assert clients(proxy, "GetObject") == ["boto3"] * 3


def test_each_child_has_its_own(proxy, store):
    """Children of a process that does not use obstore each use their own."""
    store.put("app/a", PAYLOAD, METADATA)
    program = (
        "import os, sys; from pipeline.stores.s3.store import S3Store\n"
        f"store = S3Store({store.bucket!r}, 'app'); store.put('app/probe', b'claimcheck', {{}})\n"
        "for _ in range(2):\n"
        "    if os.fork() == 0:\n"
        f"        assert len(store.get('app/a', {len(PAYLOAD)})) == {len(PAYLOAD)}\n"
        "        assert store.payloads_go_through() == 'obstore'\n"
        "        os._exit(0)\n"
        "    assert os.wait()[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

    assert clients(proxy, "GetObject") == ["obstore"] * 2


def test_new_credentials(proxy, store, monkeypatch):
    """Credentials that boto3 renews are obstore's, too."""
    store.put("app/a", PAYLOAD, METADATA)
    signer = store._clients.get()._request_signer
    monkeypatch.setattr(signer, "_credentials", type(signer._credentials)("renewed", "secret", "token"))
    store.get("app/a", len(PAYLOAD))

    (sent,) = proxy.seen("GetObject")
    assert "Credential=renewed/" in sent.headers["authorization"]
    assert sent.headers["x-amz-security-token"] == "token"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}, "through a proxy"),
        ({"AWS_ENDPOINT_URL": "https://127.0.0.1:1", "AWS_CA_BUNDLE": __file__}, "certificates of its own"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1/path"}, "endpoint has a path"),
    ],
)
def test_what_obstore_is_not_used_for(moto_aws, monkeypatch, variables, words):
    """boto3 carries payloads where obstore is not configured as boto3 is."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    store = S3Store("payloads", "app")

    assert words in store.payloads_go_through()


def test_greenlets_use_boto3(moto_aws, monkeypatch):
    """With sockets of gevent or eventlet boto3 carries payloads: obstore would stop all greenlets."""
    monkeypatch.setattr(socket, "socket", type("socket", (socket.socket,), {"__module__": "gevent._socket3"}))

    assert "gevent" in S3Store("payloads", "app").payloads_go_through()


def test_it_can_be_switched(moto_aws):
    """``payload_client`` chooses, and survives pickling; another value is an error."""
    store = S3Store("payloads", "app", payload_client="boto3")

    assert pickle.loads(pickle.dumps(store)).payloads_go_through() == "boto3, as payload_client chooses"
    assert pickle.loads(pickle.dumps(S3Store("payloads"))).payloads_go_through() == "obstore"
    with pytest.raises(ValueError, match="payload_client='curl': expected None, 'boto3', 'obstore'"):
        S3Store("payloads", payload_client="curl")


def test_without_the_extra(moto_aws, monkeypatch):
    """Without the extra boto3 carries payloads, and asking for obstore names the extra."""
    monkeypatch.setattr(obstore_transfer, "_is_installed", lambda: False)

    assert "extra obstore is not installed" in S3Store("payloads").payloads_go_through()
    with pytest.raises(ValueError, match=r"celery-claimcheck-pipeline\[obstore\]"):
        S3Store("payloads", payload_client="obstore")
