"""Pool children that are spawned work as forked ones do."""

import random
from hashlib import sha256
from types import SimpleNamespace

import pytest
from sample_fixtures import entered, standing_sample
from workers import eventually

from benchmarks.proxy import Proxy

pytestmark = [pytest.mark.aws, pytest.mark.worker]

NOISE = random.Random(5).randbytes(20_000)
CONF = {
    "worker_pool_start_method": "spawn",
    "broker_transport_options": {
        "visibility_timeout": 30,
        "wait_time_seconds": 1,
        "polling_interval": 0.1,
        "redelivery_step_seconds": 1,
    },
    "task_annotations": {"sample_app.digest_bytes": {"time_limit": 3}},
}


@pytest.fixture(scope="module")
def standing(ministack, tmp_path_factory):
    """A sample where everything goes through the store, with a worker that spawns its pool."""
    with Proxy(ministack.url) as proxy:
        server = SimpleNamespace(name=ministack.name, url=proxy.url, reset=ministack.reset, proxy=proxy)
        folder, options = tmp_path_factory.mktemp("sample_app"), {"threshold_bytes": 0}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", str(folder))
            with standing_sample(server, folder, pool="prefork", options=options, conf=CONF) as sample:
                yield server, sample, folder
        assert not list(folder.glob("claimcheck-*"))


@pytest.fixture
def proxy(standing, monkeypatch):
    server, sample, _ = standing
    entered(server, monkeypatch, empty=False)
    sample.clear()
    server.proxy.heal()
    server.proxy.requests.clear()
    return server.proxy


@pytest.fixture
def sample(standing, proxy):
    return standing[1]


def test_a_payload_is_read_and_released(sample, proxy):
    """A spawned child rehydrates the payload and stores the result; the main process releases the payload."""
    result = sample.digest_bytes.delay(NOISE)

    assert result.get(timeout=30) == [len(NOISE), sha256(NOISE).hexdigest()]
    sample.eventually_empty()
    readers = {each.pid for each in proxy.seen("GetObject")}
    assert sample.running.pid not in readers
    assert "task ran" in sample.running.text()


def test_a_retry_keeps_its_payload(sample, proxy):
    """Three attempts in spawned children cost one put."""
    assert sample.retry_twice.delay(NOISE, a=1).get(timeout=30) == len(NOISE)
    sample.eventually_empty()
    assert proxy.operations["PutObject"] == 1
    assert proxy.operations["GetObject"] == 3


def test_a_task_out_of_retries_hides_its_arguments(sample):
    """A task out of retries in a spawned child raises the error that shows no arguments."""
    error = sample.retry_forever.delay("secret words").get(timeout=30, propagate=False)

    assert type(error).__module__ == "pipeline.worker.celery_fixes.max_retries"
    assert "secret words" not in sample.running.text()


def test_results_are_not_shown(sample):
    """The log has no text of what a task in a spawned child returns."""
    assert sample.echo.delay("secret result").get(timeout=30) == "secret result"
    eventually(lambda: "sample_app.echo" in sample.running.text())
    assert "secret result" not in sample.running.text()


def test_a_hard_time_limit_is_not_for_the_store(sample, proxy):
    """A hard time limit while a spawned child waits for the store gives the message back."""
    proxy.fail("GetObject", status=503)
    result = sample.digest_bytes.delay(b"x")
    eventually(lambda: "time limit came first" in sample.running.text(), 60)

    assert result.state == "PENDING"
    proxy.heal()
    assert result.get(timeout=60) == [1, sha256(b"x").hexdigest()]
    sample.eventually_empty()


def test_a_lost_child_is_survived(sample):
    """A task whose spawned child is killed is delivered again with its payload."""
    assert sample.suicide.delay(NOISE).get(timeout=60) == len(NOISE)
    assert sample.notes() == ["dying", "dying"]
    sample.eventually_empty()


def test_the_pipe_is_private(standing):
    """The directory of the pipe is open to this user alone; its worker removes it, as the fixture checks."""
    (private,) = standing[2].glob("claimcheck-*")
    assert private.stat().st_mode & 0o777 == 0o700
