"""The result backend goes away for a moment: no message is hidden for good, and no payload stays."""

import pytest
from workers import eventually

from pipeline.serializer import serializer

pytestmark = [pytest.mark.aws, pytest.mark.worker]

BROKER = {
    "visibility_timeout": 30,
    "wait_time_seconds": 1,
    "polling_interval": 0.1,
    "max_receive_count": 3,
    "redelivery_floor_seconds": 0,
    "redelivery_step_seconds": 2,
}


class Backend:
    """The sample's result backend: a directory, and so one that can go away."""

    def __init__(self, path):
        self._path, self._aside = path, path.with_name("aside")

    def leave(self):
        self._path.rename(self._aside)

    def come_back(self):
        self._aside.rename(self._path)


@pytest.fixture
def sample(sample_of, moto_aws):
    """A sample that retries what its child was lost with, and soon sees again what it gave back."""
    return sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options={"threshold_bytes": 0},
        conf={"broker_transport_options": BROKER, "task_retry_on_worker_lost": True},
    )


@pytest.fixture
def backend(sample, tmp_path):
    """The sample's result backend."""
    return Backend(tmp_path / "results")


def used(sample, **options):
    """Start a worker with one process, whose result backend has been used."""
    worker = sample.worker(concurrency=1, **options)
    assert sample.echo.delay("x").get(timeout=60) == "x"
    return worker


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_rejected_task_does_not_wait_for_the_backend(sample, backend, moto_aws, pool):
    """A task whose rejection could not be recorded is rejected again, and blocks no other task."""
    worker = used(sample, pool=pool)
    rejected = sample.digest_bytes.apply_async((b"x",), countdown=2)
    serializer.installed().store.delete(sample.objects())
    backend.leave()
    eventually(lambda: "task is not recorded" in worker.text())
    backend.come_back()

    assert sample.echo.delay("y").get(timeout=60) == "y"
    eventually(lambda: rejected.state == "FAILURE", 60)
    eventually(lambda: sum(moto_aws.depth(sample.queue)) == 0, 60)
    assert sum(moto_aws.depth(f"{sample.queue}-dlq")) == 1


def test_a_retry_of_a_lost_child_does_not_wait_for_it(sample, backend, moto_aws):
    """A retry that was sent and could not be recorded is one all the same: the first message goes."""
    worker = used(sample, pool="prefork")
    result = sample.suicide.delay(b"x")
    eventually(lambda: sample.notes() == ["dying"])
    backend.leave()
    eventually(lambda: "task is not recorded" in worker.text())
    backend.come_back()

    assert result.get(timeout=60) == 1
    eventually(lambda: sum(moto_aws.depth(sample.queue)) == 0)
    assert worker.text().count(f"[{result.id}] received") == 2
    sample.eventually_empty()


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_hard_time_limit_is_recorded_later(sample, backend, pool):
    """A failure that cannot be recorded leaves the message there, and it comes again."""
    worker = used(sample, pool=pool)
    result = sample.overtime.delay(b"x")
    backend.leave()
    eventually(lambda: "end of the task not recorded" in worker.text())
    backend.come_back()

    eventually(lambda: result.state == "FAILURE", 60)
    sample.eventually_empty()
