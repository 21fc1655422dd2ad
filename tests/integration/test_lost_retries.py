"""A retry finds its payload after a lost child process, in a message group, and after a redelivery."""

import json
from uuid import uuid4

import pytest
from retry_sample import CALLS, CONF, DENIED, NOISE, OPTIONS, ROWS, days_ahead
from sample_fixtures import imported
from workers import eventually

from pipeline.admin import sweep
from pipeline.options import DAY_SECONDS, REUSE_SECONDS
from pipeline.transport.queues import Queues

pytestmark = [pytest.mark.aws, pytest.mark.worker]


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample with a prefork worker whose every call is recorded."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=OPTIONS, conf=CONF)
    sample.worker(pool="prefork")
    proxy.requests.clear()
    return sample


def test_a_child_killed_after_its_retry_was_sent(sample, proxy):
    """The retry finds its payload, however soon the first message comes again."""
    result = sample.retry_and.delay(NOISE, "die")

    assert result.get(timeout=60) == f"retried {len(NOISE)}"
    eventually(lambda: f"attempt 1 {len(NOISE)}" in sample.notes())
    sample.eventually_empty()
    assert proxy.operations["PutObject"] == 1


def test_a_first_message_that_comes_again_leaves_its_retry_the_payload(sample):
    """The first attempt runs again and succeeds while its retry waits: the payload is the retry's."""
    result = sample.retry_and.delay(NOISE, "die", countdown=900)
    (kept,) = sample.objects()

    assert result.get(timeout=60) == f"retried {len(NOISE)}"
    assert sample.digest.delay(ROWS).get(timeout=30)
    eventually(lambda: sample.objects() == [kept])
    assert sample.notes() == [f"attempt 0 {len(NOISE)}"] * 2


def test_a_child_killed_after_its_retry_was_sent_and_early_acknowledgement(sample, proxy):
    """The lost child is recorded as a failure, and its retry finds the payload nevertheless."""
    result = sample.retry_early.delay(NOISE, dies=True)

    eventually(lambda: len(sample.notes()) == 2, 60)
    eventually(lambda: sample.app.AsyncResult(result.id).result == len(NOISE))
    sample.eventually_empty()
    assert proxy.operations["PutObject"] == 1
    assert proxy.operations["GetObject"] == 2


def test_success_is_the_last_word(sample_of, moto_aws, proxy):
    """RETRY is stored before the retry runs, with idle workers and a slow result backend."""
    backend = {"result_backend": f"dynamodb://eu-west-1/results-{uuid4().hex}"}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=OPTIONS, conf=CONF | backend)
    assert sample.app.backend.client
    worker = sample.worker(pool="prefork", concurrency=2)
    proxy.delay(0.6, "PutItem", times=1)
    result = sample.ordeal.delay(NOISE, 1, "retry")

    eventually(lambda: "retry: Retry in 0s" in worker.text() and "succeeded" in worker.text())
    assert result.state == "SUCCESS"


def test_a_retry_keeps_the_payload_that_another_one_needs(sample_of, moto_aws, proxy, tmp_path):
    """An attempt that came twice has two retries with one payload; a late RETRY hides one's success."""
    backend = {"result_backend": f"late_app.LateBackend+file://{tmp_path / 'results'}"}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=OPTIONS, conf=CONF | backend)
    proxy.lose("SendMessage", times=1)
    proxy.delay(1, lambda request: request.operation.startswith("DeleteMessage"))
    with imported("late_app") as module:
        result = module.retry_one_by_one.delay(NOISE)
        sample.worker(app="late_app", pool="prefork", concurrency=4)

        assert result.get(timeout=60) == len(NOISE)
    sample.eventually_empty()
    attempts = [line.split()[1] for line in sample.notes()]
    assert attempts == ["0", "0", "1", "1"]


def test_a_retry_without_a_stored_result_releases_its_payload(sample_of, moto_aws):
    """Its last stored state is RETRY, and no other retry needs the payload."""
    conf = CONF | {"task_store_errors_even_if_ignored": True}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=OPTIONS, conf=conf)
    sample.worker(pool="threads")
    result = sample.retry_twice.apply_async((NOISE,), ignore_result=True)
    eventually(lambda: len(sample.notes()) == 3)

    sample.eventually_empty()
    assert sample.app.AsyncResult(result.id).state == "RETRY"


@pytest.mark.parametrize(("late", "compression"), [(True, None), (False, None), (True, "gzip")])
def test_a_retry_of_a_lost_child_keeps_its_payload(sample_of, moto_aws, proxy, late, compression):
    """With ``task_retry_on_worker_lost`` the main process retries, and reads and stores nothing for it."""
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options=OPTIONS,
        conf=CONF | {"task_retry_on_worker_lost": True, "task_acks_late": late},
    )
    worker = sample.worker(pool="prefork")
    proxy.requests.clear()
    result = sample.suicide.apply_async((NOISE,), compression=compression)
    eventually(lambda: result.state == "RETRY")

    assert result.get(timeout=30) == len(NOISE)
    assert sample.notes() == ["dying", "dying"]
    sample.eventually_empty()
    assert "task retried: Retry in 1s" in worker.text()
    assert [proxy.operations[name] for name in CALLS] == [1, 2, 1]
    assert worker.pid not in {each.pid for each in proxy.requests if each.operation == "GetObject"}


def test_a_retry_of_a_lost_child_that_is_days_away(sample_of, moto_aws):
    """A retry with a long countdown after a lost child gets a payload of its own, and the first one goes."""
    annotations = {"sample_app.suicide": {"default_retry_delay": 2 * DAY_SECONDS}}
    conf = CONF | {"task_retry_on_worker_lost": True, "task_annotations": annotations}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=OPTIONS, conf=conf)
    sample.worker(pool="prefork")
    sample.suicide.delay(NOISE)

    eventually(lambda: sample.notes() and days_ahead(sample) == [2])


def test_a_retry_of_a_lost_child_that_is_not_sent(sample_of, moto_aws, proxy):
    """The message is redelivered with its payload if SQS denies the retry."""
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options=OPTIONS,
        conf=CONF | {"task_retry_on_worker_lost": True},
    )
    worker = sample.worker(pool="prefork")
    proxy.requests.clear()
    result = sample.suicide.delay(NOISE)
    eventually(sample.notes)
    proxy.fail("SendMessage", status=403, content=DENIED)

    assert result.get(timeout=60) == len(NOISE)
    sample.eventually_empty()
    assert "task not retried" in worker.text()
    assert [proxy.operations[name] for name in CALLS] == [1, 2, 1]


@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_a_retry_stays_in_its_message_group(sample_of, moto_aws, suffix):
    """A retry keeps the message group of its task, on FIFO and on fair queues."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=OPTIONS, conf=CONF)
    queue = f"{sample.queue}{suffix}"
    result = sample.retry_grouped.apply_async((NOISE,), queue=queue, MessageGroupId="tenant")
    sample.worker(pool="threads", options=("-Q", queue))

    assert result.get(timeout=30) == len(NOISE)
    assert sample.notes() == ["attempt 0 tenant", "attempt 1 tenant"]
    sample.eventually_empty()


def test_the_sweep_spares_what_retries_keep(sample_of, moto_aws):
    """A payload may be a day older than a message that names it, so an orphan is that much older."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims")
    dead = moto_aws.queue(MessageRetentionPeriod=14 * DAY_SECONDS)
    arn = f"arn:aws:sqs:eu-west-1:123456789012:{dead.rpartition('/')[2]}"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    name = sample.queue
    moto_aws.queue(name, MessageRetentionPeriod=4 * DAY_SECONDS, RedrivePolicy=policy)

    with Queues(sample.app) as queues:
        age = sweep.minimum_age(queues)

    assert age.total_seconds() == REUSE_SECONDS + (4 + 14) * DAY_SECONDS
