"""Large results, on every result backend that keeps bytes: offloaded once, and released when forgotten."""

import random
from uuid import uuid4

import pytest
from celery import chord, group
from celery.contrib.testing.worker import start_worker
from sample_fixtures import entered, open_samples
from workers import eventually

from pipeline.errors import PayloadMissingError
from pipeline.results import forget
from pipeline.serializer import serializer

pytestmark = [
    pytest.mark.worker,
    # Celery's backends leave their connections to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
]

NOISE = random.Random(1).randbytes(5_000)
CONF = {"result_serializer": "claimcheck"}
OPTIONS = {"result_threshold_bytes": 2_000}

BACKENDS = {
    "redis": lambda request, *_: {"result_backend": redis(request)},
    "cache": lambda *_: {"result_backend": "cache+memory://"},
    "file": lambda _request, _environment, path: {"result_backend": f"file://{path}"},
    "database": lambda _request, _environment, path: {
        "result_backend": f"db+sqlite:///{path}/results.sqlite"
    },
    "rpc": lambda *_: {"result_backend": "rpc://"},
    "s3": lambda request, environment, _: s3(stand_in(request, environment)),
    "dynamodb": lambda request, environment, _: dynamodb(stand_in(request, environment)),
}
JOINING = sorted(BACKENDS.keys() - {"rpc"})
"""Those that know chords."""


def redis(request):
    server = request.getfixturevalue("redis_server")
    server.reset()
    return server.url


def stand_in(request, environment):
    return entered(request.getfixturevalue("moto"), environment)


def s3(aws):
    access = {"s3_access_key_id": "test", "s3_secret_access_key": "test"}
    return {"result_backend": "s3://", "s3_bucket": aws.bucket(), "s3_endpoint_url": aws.url, **access}


def dynamodb(aws):
    host = aws.url.removeprefix("http://")
    return {"result_backend": f"dynamodb://test:test@{host}/results"}


@pytest.fixture(scope="module", params=BACKENDS)
def running(request, tmp_path_factory):
    """A sample with one result backend, and a worker in this process."""
    path = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as environment, open_samples(path) as sample_of:
        conf = CONF | BACKENDS[request.param](request, environment, path)
        sample = sample_of(broker="memory://", store=f"memory://{uuid4().hex}", options=OPTIONS, conf=conf)
        with start_worker(sample.app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
            yield sample


@pytest.fixture
def sample(running, monkeypatch):
    """The sample, without what earlier tests left."""
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    running.clear()
    return running


def joining(test):
    return pytest.mark.parametrize("running", JOINING, indirect=True)(test)


def test_a_large_result_is_one_object_until_it_is_forgotten(sample):
    """A result above the threshold is one object under its own prefix until ``forget`` releases it."""
    small, large = sample.echo.delay("small"), sample.echo.delay(NOISE)

    assert (small.get(timeout=30), large.get(timeout=30)) == ("small", NOISE)
    assert type(large.get()) is bytes
    assert [key.split("v1/")[0] for key in sample.objects()] == ["results/"]

    for result in (large, large, small):
        forget(result)
    assert sample.objects() == []
    assert sample.app.AsyncResult(large.id).state == "PENDING"


@joining
def test_a_chord_stores_each_result_once(sample):
    """A chord's header results are one object each; forgetting the chord releases those and the body's."""
    result = chord([sample.echo.s(NOISE + bytes([i])) for i in range(3)])(sample.echo.s())

    assert result.get(timeout=30) == [NOISE + bytes([i]) for i in range(3)]
    eventually(lambda: len(sample.objects()) == 4)
    result.forget()
    assert sample.objects() == []


@joining
def test_a_forgotten_group_leaves_nothing(sample):
    """Forgetting a group releases the results of all its members, and of those in groups of groups."""
    members = group(sample.echo.s(NOISE), sample.echo.s("small"), sample.fail.s(1))
    result = group(members, sample.echo.s(NOISE))()
    eventually(result.ready)
    assert len(sample.objects()) == 2

    forget(result)
    assert sample.objects() == []


@pytest.mark.parametrize("running", ["redis"], indirect=True)
@pytest.mark.parametrize("body", ["echo", "fail"])
def test_parts_of_ignored_results_go_with_the_body(sample, body):
    """The parts of a header with ignored results are released once the body has read them."""
    header = [sample.echo.s(NOISE + bytes([i])).set(ignore_result=True) for i in range(3)]
    result = chord(header)(sample.module.app.tasks[f"sample_app.{body}"].s())

    eventually(result.ready)
    eventually(lambda: len(sample.objects()) == (body == "echo"))
    result.forget()
    assert sample.objects() == []


@pytest.mark.parametrize("running", ["redis"], indirect=True)
def test_parts_of_a_failed_chord_go(sample):
    """The other parts of a header are released if one of its tasks fails."""
    header = [
        task.set(ignore_result=True)
        for task in (sample.echo.s(NOISE), sample.fail.s(1), sample.echo.s(NOISE))
    ]
    result = chord(header)(sample.echo.s())

    eventually(lambda: result.state == "FAILURE")
    eventually(lambda: sample.objects() == [])


@joining
def test_a_failed_chord_can_be_forgotten(sample):
    """The results of a header of which one has failed are released with the chord."""
    result = chord([sample.echo.s(NOISE), sample.fail.s(1)])(sample.echo.s())

    eventually(lambda: result.state == "FAILURE")
    eventually(lambda: len(sample.objects()) == 1)
    result.forget()
    assert sample.objects() == []


def test_a_task_whose_payload_is_gone_has_ended_all_the_same(sample):
    """The state stays readable after the payload expired, and only reading the result raises."""
    result = sample.echo.delay(NOISE)
    eventually(result.ready)
    serializer.installed().store.delete(sample.objects())

    assert result.state == "SUCCESS"
    with pytest.raises(PayloadMissingError):
        result.get()


@joining
def test_a_failure_whose_payload_is_gone_stops_no_other_task(sample):
    """Its state stays known, and a client that waits for it and for another result gets the other one."""
    backend, gone = sample.app.backend, sample.app.AsyncResult(uuid4().hex)
    other = sample.app.AsyncResult(uuid4().hex)
    for each in (gone, other):
        getattr(backend, "add_pending_result", bool)(each)  # those that push results to a client
    backend.mark_as_failure(gone.id, ValueError(NOISE))
    serializer.installed().store.delete(sample.objects())
    backend.mark_as_done(other.id, 42)

    assert gone.state == "FAILURE"
    assert other.get(timeout=30) == 42
    with pytest.raises(PayloadMissingError):
        gone.get()
