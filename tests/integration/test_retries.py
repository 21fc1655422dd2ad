"""A retry with the same arguments keeps its payload: stored once, read by each attempt, released once."""

import os
from dataclasses import dataclass

import pytest
from celery.exceptions import MaxRetriesExceededError
from retry_sample import CALLS, CONF, DENIED, NOISE, OPTIONS, ROWS, days_ahead
from sample_fixtures import entered, standing_sample
from workers import eventually

from benchmarks.proxy import Proxy
from pipeline.options import DAY_SECONDS

pytestmark = [pytest.mark.aws, pytest.mark.worker]


@dataclass
class Proxied:
    """A stand-in for AWS behind a proxy that records every call."""

    name: str
    url: str
    proxy: Proxy

    def reset(self):
        """Keep other tests' data: queues and buckets are new in each sample."""

    def stored(self):
        """Return the calls of the store in their order."""
        return [each.operation for each in tuple(self.proxy.requests) if each.operation in CALLS]


class Retries:
    """The rules of every pool; each subclass runs one worker for all of its tests."""

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
        """Arguments that ``before_start`` changed get a new payload; unchanged ones keep theirs."""
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
        """The payload of a retry with a long countdown is stored under the day it is due."""
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
        """Message and payload stay if SQS denies the retry, and the next delivery retries with both."""
        rule = server.proxy.fail(
            lambda call: call.operation == "SendMessage" and call.pid != os.getpid(),
            status=400,
            times=1,
            content=DENIED,
        )
        result = sample.retry_twice.delay(NOISE)

        assert eventually(lambda: result.state == "FAILURE" and rule.used)
        assert len(sample.objects()) == 1
        eventually(lambda: sample.app.AsyncResult(result.id).state == "SUCCESS", 60)
        assert [note.split()[1] for note in sample.notes()] == ["0", "0", "1", "2"]
        sample.eventually_empty()
        assert server.stored() == ["PutObject", *["GetObject"] * 4, "DeleteObjects"]

    def test_a_retry_that_is_not_sent_after_early_acknowledgement(self, sample, server):
        """The payload is released if SQS denies the retry of a message that was acknowledged early."""
        server.proxy.fail(
            lambda call: call.operation == "SendMessage" and call.pid != os.getpid(),
            status=400,
            content=DENIED,
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
