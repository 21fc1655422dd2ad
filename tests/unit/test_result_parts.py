"""How a result is written and read: once to the store, and from there only when it is wanted."""

import pickle
from uuid import uuid4

import pytest
from celery import Celery

from pipeline.backend import extended, open_backend
from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck.claim import Message
from pipeline.claimcheck.keys import is_result
from pipeline.errors import ClaimError
from pipeline.results import Outgoing
from pipeline.serializer import serializer

META = {"status": "SUCCESS", "traceback": None, "children": []}


def through(value):
    return serializer.decode(serializer.encode(value))


def test_a_large_result_is_read_when_it_is_wanted(claimcheck, store, noise):
    """The state of a task is known without the store; its result is read once, when somebody looks at it."""
    meta = through({**META, "result": Outgoing(noise)})

    assert (meta["status"], meta.get("children"), "result" in meta, len(meta)) == ("SUCCESS", [], True, 4)
    assert store.calls == {"put": 1}
    assert meta["result"] == noise
    assert dict(meta) == {**META, "result": noise}
    assert store.calls == {"put": 1, "get": 1}


def test_a_value_has_no_claim(claimcheck, noise):
    """Only a result is offloaded beside a task: a claim for any other value is not ours."""
    claim = through(Outgoing(noise)).stored.claim
    read = serializer.decode(wire_form.write(Message(shape="value", payload=claim)))

    with pytest.raises(ClaimError, match="a value that is no result"):
        read["status"]


def test_what_is_read_of_a_result_can_be_pickled(claimcheck, noise):
    """What a backend keeps of a task crosses to another process as the plain dict that it stands for."""
    meta = pickle.loads(pickle.dumps(through({**META, "result": Outgoing(noise)})))

    assert (type(meta), meta) == (dict, {**META, "result": noise})


def test_a_result_is_offloaded_once(claimcheck, store, noise):
    """What Celery writes a second time, as a part of a chord, names the payload that is there."""
    outgoing = Outgoing(noise, "sample_app.echo", "id")
    meta, part = through({**META, "result": outgoing}), through([1, "id", "SUCCESS", outgoing])

    assert meta.stored.claim == part.stored.claim
    assert (meta.stored.is_own, part.stored.is_own) == (True, False)
    assert list(part) == [1, "id", "SUCCESS", noise]
    assert store.calls == {"put": 1, "get": 1}


def test_a_part_whose_result_is_ignored_has_its_own_payload(claimcheck, noise):
    """A part of a chord that is stored nowhere else is released with the chord."""
    assert through([1, "id", "SUCCESS", Outgoing(noise)]).stored.is_own


def test_a_result_alone_is_itself_once_it_is_looked_at(claimcheck, noise):
    """Databases keep a result beside what is around it."""
    assert through(Outgoing(noise)) == noise


@pytest.mark.parametrize("value", [None, "text", {"result": 1}, [1, 2]])
def test_a_small_result_stays_in_the_backend(claimcheck, store, value):
    """Below ``result_threshold_bytes`` nothing is stored."""
    assert through({**META, "result": Outgoing(value)})["result"] == value
    assert store.calls == {}


def test_a_result_has_a_key_of_its_own(claimcheck, noise):
    """Results lie under a prefix of their own, as they live as long as ``result_expires`` says."""
    meta = through({**META, "result": Outgoing(noise)})

    assert is_result(meta.stored.claim.key, claimcheck.store.prefix)
    assert not is_result(claimcheck.store.prefix + "/v1/0a/2026/01/01/" + 40 * "0", claimcheck.store.prefix)


@pytest.fixture
def task_id():
    """A new one each time: Celery's memory is one for the process."""
    return uuid4().hex


@pytest.fixture
def backend(claimcheck):
    """A result backend in memory, as ``install`` makes it."""
    app = Celery("results", backend="cache+memory://", set_as_current=False)
    app.conf.update(result_serializer="claimcheck", accept_content=["claimcheck"])
    yield open_backend(None, app)
    app.close()


def test_a_large_error_is_offloaded_once(backend, store, noise, task_id):
    """What an exception holds is looked at before it is stored, and only then offloaded."""
    backend.mark_as_failure(task_id, ValueError(noise))

    assert store.calls == {"put": 1}
    assert backend.get_task_meta(task_id)["result"].args == (noise,)
    backend.forget(task_id)
    assert list(store.list()) == []


def test_a_large_error_is_read_when_it_is_wanted(backend, store, noise, task_id):
    """The state of a failed task is known without the store; its exception is read once, and made once."""
    backend.mark_as_failure(task_id, ValueError(noise))
    meta = backend.get_task_meta(task_id)

    assert meta["status"] == "FAILURE"
    assert store.calls == {"put": 1}
    assert meta["result"] is meta["result"]
    assert store.calls == {"put": 1, "get": 1}
    assert isinstance(pickle.loads(pickle.dumps(meta))["result"], ValueError)


def test_a_retry_offloads_nothing(backend, store, noise, task_id):
    """Only a final result is offloaded: what is stored before it is overwritten."""
    backend.mark_as_retry(task_id, ValueError(noise))

    assert store.calls == {}


def test_storing_a_result_returns_it(backend, noise, task_id):
    """Storing a result returns it as Celery prepares it."""
    assert backend.store_result(task_id, noise, "SUCCESS") == noise


def test_a_second_run_s_result_is_not_offloaded(backend, store, noise, task_id):
    """Celery keeps the first SUCCESS; what comes after it leaves no object behind."""
    for _ in range(2):
        backend.mark_as_done(task_id, noise)

    assert store.calls["put"] == 1


def test_other_serializers_are_left_alone(claimcheck, store, noise, task_id):
    """With another ``result_serializer`` a backend does what it did."""
    app = Celery("plain", backend="cache+memory://", set_as_current=False)
    backend = open_backend(None, app)
    backend.mark_as_done(task_id, "x" * 10_000)

    assert backend.get_task_meta(task_id)["result"] == "x" * 10_000
    backend.forget(task_id)
    assert store.calls == {}
    app.close()


def test_a_backend_can_be_pickled(backend):
    """A backend crosses to another process by the class that Celery knows."""
    backend.app.set_current()
    copy = pickle.loads(pickle.dumps(backend))

    assert type(copy) is type(backend) is extended(type(backend).__bases__[1])
