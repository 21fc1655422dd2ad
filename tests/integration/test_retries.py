"""A retry with the same arguments keeps the payload: stored once, read by each attempt, released at last."""

import json
import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from celery.exceptions import MaxRetriesExceededError
from proxy import Proxy
from sample_fixtures import entered, standing_sample
from workers import eventually

from pipeline.admin import sweep
from pipeline.claimcheck.keys import day_of
from pipeline.options import DAY_SECONDS, REUSE_SECONDS
from pipeline.transport.queues import Queues

pytestmark = [pytest.mark.aws, pytest.mark.worker]

NOISE = random.Random(5).randbytes(20_000)
ROWS = [{"id": i, "name": f"row {i}"} for i in range(50)]
CALLS = ("PutObject", "GetObject", "DeleteObjects")
OPTIONS = {"threshold_bytes": 0}
CONF = {
    "broker_transport_options": {
        "visibility_timeout": 30,
        "wait_time_seconds": 1,
        "polling_interval": 0.1,
        "redelivery_step_seconds": 1,
    }
}
REFUSAL = b'{"__type":"AccessDenied","message":"no"}'


def days_ahead(sample):
    """Return how many days ahead of today the days in the keys of the store are."""
    now = datetime.now(UTC)
    return [(day_of(key) - now).days + 1 for key in sample.objects()]


@dataclass
class Proxied:
    """A stand-in for AWS behind a proxy that writes every call down."""

    name: str
    url: str
    proxy: Proxy

    def reset(self):
        """Keep what others have there: queues and buckets are new in each sample."""

    def stored(self):
        """Return the calls of the store in their order."""
        return [each.operation for each in tuple(self.proxy.requests) if each.operation in CALLS]


class Retries:
    """What holds on every pool; each of its kinds runs one worker for all of its tests."""

    @pytest.fixture(scope="class")
    @classmethod
    def standing(cls, moto, tmp_path_factory):
        """A sample where everything goes through the store, with a worker of this pool."""
        with Proxy(moto.url) as proxy:
            server = Proxied(moto.name, proxy.url, proxy)
            folder = tmp_path_factory.mktemp("sample_app")
            with standing_sample(server, folder, pool=cls.pool, options=OPTIONS, conf=CONF) as sample:
                yield server, sample

    @pytest.fixture
    def server(self, standing, monkeypatch):
        server, sample = standing
        entered(server, monkeypatch, empty=False)
        sample.clear()
        server.proxy.heal()
        server.proxy.requests.clear()
        return server

    @pytest.fixture
    def sample(self, standing, server):
        """The sample of this class, without what earlier tests left, and with an empty record of calls."""
        return standing[1]

    def test_a_retry_keeps_its_payload(self, sample, server):
        """Three attempts cost one put, three gets, and one delete that comes after the last of them."""
        result = sample.retry_twice.delay(NOISE, a=1)
        eventually(lambda: len(sample.notes()) == 1)
        first = sample.objects()
        eventually(lambda: len(sample.notes()) == 2)
        second = sample.objects()

        assert result.get(timeout=30) == len(NOISE)
        assert len(first) == 1
        assert first == second
        sample.eventually_empty()
        assert server.stored() == ["PutObject", "GetObject", "GetObject", "GetObject", "DeleteObjects"]

    def test_a_task_with_any_names_of_headers_is_retried(self, sample, server):
        """Headers that are named like methods of ``Task.request`` take nothing from it."""
        names = ("get", "update", "clear", "as_execution_options", "_get_custom_headers", "_children", "mine")
        result = sample.retry_twice.apply_async((NOISE,), headers=dict.fromkeys(names, "x"))

        assert result.get(timeout=30) == len(NOISE)
        sample.eventually_empty()

    @pytest.mark.parametrize("how", ["in place", "given"])
    def test_changed_arguments_get_a_payload_of_their_own(self, sample, server, how):
        """Arguments that were changed in place or given anew are stored anew, and the old payload goes."""
        result = sample.retry_with.delay(ROWS, how)
        old = next(each.path for each in tuple(server.proxy.requests) if each.operation == "PutObject")

        assert result.get(timeout=30) == len(ROWS) + 1
        eventually(lambda: not any(old.endswith(key) for key in sample.objects()))
        sample.eventually_empty()
        assert server.stored().count("PutObject") == server.stored().count("GetObject") == 2

    def test_arguments_that_a_hook_changes_are_changed(self, sample, server):
        """What ``before_start`` has changed goes along, in a new payload; what it leaves as it is stays."""
        result = sample.tidied.delay(ROWS, times=2, _trace=7)

        assert result.get(timeout=30) == {"tidy": True}
        assert [line for line in sample.notes() if "trace" in line] == ["trace 7", "trace None", "trace None"]
        sample.eventually_empty()
        assert server.stored().count("PutObject") == 2
        assert server.stored().count("GetObject") == 3

    def test_links_that_are_too_big_are_kept_too(self, sample, server):
        """A retry with a large chain and errback keeps them in its one payload, and the chain goes on."""
        chained = sample.retry_twice.s(NOISE.hex()) | sample.digest.s(ROWS, "x" * 1_000)
        result = chained.apply_async(link_error=sample.old_errback.s("x" * 1_000))

        assert result.get(timeout=30) == sample.fingerprint([[2 * len(NOISE), ROWS, "x" * 1_000], {}])
        sample.eventually_empty()
        assert server.stored().count("PutObject") == 2
        assert server.stored().count("GetObject") == 4

    def test_out_of_retries_the_payload_goes(self, sample, server):
        """A task that has retried often enough has used one payload, which goes."""
        with pytest.raises(MaxRetriesExceededError):
            sample.retry_forever.delay(NOISE).get(timeout=30)

        sample.eventually_empty()
        assert server.stored() == ["PutObject", "GetObject", "GetObject", "DeleteObjects"]

    def test_a_retry_after_early_acknowledgement(self, sample, server):
        """With early acknowledgement the payload is kept for the retry all the same."""
        assert sample.retry_early.delay(NOISE).get(timeout=30) == len(NOISE)
        sample.eventually_empty()
        assert server.stored() == ["PutObject", "GetObject", "GetObject", "DeleteObjects"]

    @pytest.mark.parametrize("then", ["return", "fail"])
    def test_an_attempt_may_go_on_after_its_retry(self, sample, server, then):
        """``retry(throw=False)``, and a success or failure after it: the retry still finds its payload."""
        sample.retry_and.delay(NOISE, then)

        eventually(lambda: len(sample.notes()) == 2)
        sample.eventually_empty()
        assert server.stored() == ["PutObject", "GetObject", "GetObject", "DeleteObjects"]

    def test_the_second_retry_of_one_attempt_has_its_own(self, sample, server):
        """An attempt that publishes two retries shares its payload with one of them only: both run."""
        sample.retry_and.delay(NOISE, "retry")

        eventually(lambda: len(sample.notes()) == 3)
        sample.eventually_empty()
        assert server.stored().count("PutObject") == 2
        assert server.stored().count("GetObject") == 3

    def test_a_retry_that_is_days_away_has_its_own(self, sample, server):
        """The payload of a retry with a long countdown lies under the day it is due, as that of any task."""
        sample.retry_and.delay(NOISE, "return", 2 * DAY_SECONDS)

        eventually(lambda: sample.notes() and days_ahead(sample) == [2])
        assert server.stored().count("PutObject") == 2

    def test_what_only_looks_like_a_retry_has_its_own(self, sample, server):
        """A task that publishes itself under its own id, but not as a retry, stores its arguments anew."""
        assert sample.again.delay(NOISE).get(timeout=30) == len(NOISE)
        eventually(lambda: len(sample.notes()) == 2)
        sample.eventually_empty()
        assert server.stored().count("PutObject") == 2

    def test_a_retry_that_is_not_sent_leaves_the_payload(self, sample, server):
        """If SQS refuses the retry, message and payload stay; the next delivery retries with the same one."""
        rule = server.proxy.fail(
            lambda call: call.operation == "SendMessage" and call.pid != os.getpid(),
            status=400,
            times=1,
            content=REFUSAL,
        )
        result = sample.retry_twice.delay(NOISE)

        assert eventually(lambda: result.state == "FAILURE" and rule.used)
        assert len(sample.objects()) == 1
        eventually(lambda: sample.app.AsyncResult(result.id).state == "SUCCESS", 60)
        assert [note.split()[1] for note in sample.notes()] == ["0", "0", "1", "2"]
        sample.eventually_empty()
        assert server.stored() == ["PutObject", *["GetObject"] * 4, "DeleteObjects"]

    def test_a_retry_that_is_not_sent_after_early_acknowledgement(self, sample, server):
        """If SQS refuses the retry of a message that is gone, no message names the payload: it goes."""
        server.proxy.fail(
            lambda call: call.operation == "SendMessage" and call.pid != os.getpid(),
            status=400,
            content=REFUSAL,
        )
        result = sample.retry_early.delay(NOISE)

        eventually(lambda: result.state == "FAILURE")
        sample.eventually_empty()
        assert server.stored() == ["PutObject", "GetObject", "DeleteObjects"]


class TestPrefork(Retries):
    pool = "prefork"


class TestThreads(Retries):
    pool = "threads"


class TestSolo(Retries):
    pool = "solo"


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample with a prefork worker whose every call is written down."""
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
    """However idle the workers and slow the result backend, RETRY is stored before the retry runs."""
    backend = {"result_backend": f"dynamodb://eu-west-1/results-{uuid4().hex}"}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=OPTIONS, conf=CONF | backend)
    assert sample.app.backend.client
    worker = sample.worker(pool="prefork", concurrency=2)
    proxy.delay(0.6, "PutItem", times=1)
    result = sample.ordeal.delay(NOISE, 1, "retry")

    eventually(lambda: "retry: Retry in 0s" in worker.text() and "succeeded" in worker.text())
    assert result.state == "SUCCESS"


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
    """It gets a payload of its own, by Celery's own way, and the first one goes."""
    annotations = {"sample_app.suicide": {"default_retry_delay": 2 * DAY_SECONDS}}
    conf = CONF | {"task_retry_on_worker_lost": True, "task_annotations": annotations}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=OPTIONS, conf=conf)
    sample.worker(pool="prefork")
    sample.suicide.delay(NOISE)

    eventually(lambda: sample.notes() and days_ahead(sample) == [2])


def test_a_retry_of_a_lost_child_that_is_not_sent(sample_of, moto_aws, proxy):
    """If SQS refuses the retry, the message comes again, and its payload with it."""
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options=OPTIONS,
        conf=CONF | {"task_retry_on_worker_lost": True},
    )
    worker = sample.worker(pool="prefork")
    proxy.requests.clear()
    result = sample.suicide.delay(NOISE)
    eventually(sample.notes)
    proxy.fail("SendMessage", status=403, content=REFUSAL)

    assert result.get(timeout=60) == len(NOISE)
    sample.eventually_empty()
    assert "task not retried" in worker.text()
    assert [proxy.operations[name] for name in CALLS] == [1, 2, 1]


@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_a_retry_stays_in_its_message_group(sample_of, moto_aws, suffix):
    """A FIFO queue keeps what belongs together in order, and a fair queue knows whose message it is."""
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
