"""Ids of tasks, whatever they are made of: the message is sent, runs, and its payload is released."""

import random
from uuid import UUID, uuid4

import pytest
from celery.result import AsyncResult
from sample_fixtures import entered, standing_sample
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

NOISE = random.Random(11).randbytes(400_000)
CONF = {
    "worker_enable_remote_control": True,
    "broker_transport_options": {"wait_time_seconds": 1, "polling_interval": 0.1},
}


@pytest.fixture(scope="module")
def standing(moto, tmp_path_factory):
    """A sample with the default threshold, and a worker that takes commands."""
    with standing_sample(moto, tmp_path_factory.mktemp("ids"), "threads", conf=CONF) as sample:
        yield sample


@pytest.fixture
def sample(standing, moto, monkeypatch):
    """The sample without what earlier tests left."""
    entered(moto, monkeypatch, empty=False)
    standing.clear()
    return standing


@pytest.mark.parametrize("content", [b"small", NOISE], ids=["inline", "offloaded"])
@pytest.mark.parametrize(
    ("make", "text_of"),
    [(UUID, str), (lambda text: text.encode(), bytes.decode), (lambda text: int(text, 16), str)],
    ids=["uuid", "bytes", "int"],
)
def test_an_id_of_another_type_is_its_text(sample, content, make, text_of):
    """A UUID, bytes or a number names a task as its text does, small or large, for result backends too."""
    task_id = make(uuid4().hex)
    sample.digest_bytes.apply_async((content,), task_id=task_id)

    assert AsyncResult(text_of(task_id), app=sample.app).get(timeout=60)[0] == len(content)
    sample.eventually_empty()


def test_the_caller_s_result_is_found_by_a_uuid(sample):
    """``apply_async(task_id=uuid4())`` returns a result that can be waited for, with links and in a chain."""
    result = sample.add.apply_async((1, 1), task_id=UUID(int=7), link=sample.double.s())

    assert result.get(timeout=60) == 2


def test_bytes_that_are_no_text_are_rejected_at_once(sample):
    """No result backend could name such a task: the publisher gets an error, and nothing is stored."""
    with pytest.raises(ValueError, match="not UTF-8"):
        sample.digest_bytes.apply_async((NOISE,), task_id=b"\xff\xfe")

    assert not sample.objects()


def test_a_task_is_revoked_by_its_uuid(sample):
    """Commands name a task as its message does."""
    task_id = UUID(int=8)
    sample.app.control.revoke(task_id)
    eventually(lambda: str(task_id) in sample.running.text())
    sample.digest_bytes.apply_async((NOISE,), task_id=task_id)

    sample.eventually_empty()
    assert AsyncResult(str(task_id), app=sample.app).status == "REVOKED"
