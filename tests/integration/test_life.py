"""The life of a payload on every pool: offloaded, rehydrated where the task runs, released at its end."""

import random

import pytest
from celery import chain, chord, group
from celery.exceptions import MaxRetriesExceededError
from sample_fixtures import cleared, standing_sample
from workers import eventually

from pipeline.results import forget

pytestmark = [pytest.mark.aws, pytest.mark.worker]

ROWS = [{"id": i, "name": f"row {i}"} for i in range(50)]
NOISE = random.Random(1).randbytes(5_000)
OPTIONS = {"threshold_bytes": 0, "result_threshold_bytes": 2_000}
CONF = {"result_serializer": "claimcheck"}


class Life:
    """The rules of every pool; each subclass runs one worker for all of its tests."""

    @pytest.fixture(scope="class")
    @classmethod
    def running(cls, moto, tmp_path_factory):
        """A sample where everything goes through the store, with a worker of this pool."""
        with standing_sample(
            moto, tmp_path_factory.mktemp("sample_app"), pool=cls.pool, options=OPTIONS, conf=CONF
        ) as sample:
            yield sample

    @pytest.fixture
    def sample(self, running, moto, monkeypatch):
        """The sample of this class, without what earlier tests left."""
        return cleared(running, moto, monkeypatch)

    def test_arguments_arrive_and_payloads_go(self, sample):
        """On every pool a task gets the arguments it was called with, and its payload is gone afterwards."""
        result = sample.digest.delay(ROWS, b"\xff" * 1000, name="x")

        assert result.get(timeout=30) == sample.fingerprint([[ROWS, b"\xff" * 1000], {"name": "x"}])
        sample.eventually_empty()

    def test_canvas_works_unchanged(self, sample):
        """Chains, groups, chords, maps, chunks and starmaps work with every argument in the store."""
        add, total, double = sample.add, sample.total, sample.double
        calls = {
            "chain": (chain(add.s(1, 2), add.s(3), add.si(10, 20), add.s(5)), 35),
            "group": (group(add.s(i, i) for i in range(4)), [0, 2, 4, 6]),
            "chord": (chord([add.s(i, 1) for i in range(3)], total.s()), 6),
            "map": (double.map([1, 2, 3]), [2, 4, 6]),
            "starmap": (add.starmap([(1, 2), (3, 4)]), [3, 7]),
            "chunks": (add.chunks([(1, 1), (2, 2), (3, 3)], 2).group(), [[2, 4], [6]]),
            "nested": (chain(group(add.s(1, 1), add.s(2, 2)), total.s(), double.s()), 12),
        }
        started = {name: canvas.apply_async() for name, (canvas, _) in calls.items()}

        assert {name: result.get(timeout=60) for name, result in started.items()} == {
            name: expected for name, (_, expected) in calls.items()
        }
        sample.eventually_empty()

    def test_links_and_errbacks_get_their_arguments(self, sample):
        """Callbacks and errbacks whose arguments were too big to travel are called with them."""
        linked = sample.add.apply_async((1, 2), link=sample.add.s(10))
        failed = sample.fail.apply_async(
            (ROWS,), link_error=[sample.errback.s(), sample.old_errback.s("x" * 700)]
        )

        with pytest.raises(ValueError, match="always fails"):
            failed.get(timeout=30)

        assert linked.get(timeout=30) == 3
        assert eventually(lambda: linked.children and linked.children[0].get(timeout=30)) == 13
        eventually(lambda: len(sample.notes()) == 2)
        assert f"errback {failed.id} ValueError" in sample.notes()
        assert f"errback 700 {failed.id}" in sample.notes()
        sample.eventually_empty()

    def test_retries_carry_their_arguments(self, sample):
        """Each retry is called with the same arguments, and no payload is left of any attempt."""
        assert sample.retry_twice.delay("x" * 1000, a=1).get(timeout=30) == 1000
        assert sample.notes() == ["attempt 0 1000", "attempt 1 1000", "attempt 2 1000"]
        sample.eventually_empty()

    def test_a_task_out_of_retries_shows_no_arguments(self, sample):
        """The error of a task that is out of retries does not contain its arguments' text."""
        with pytest.raises(MaxRetriesExceededError) as caught:
            sample.retry_forever.delay("top secret text").get(timeout=30)

        assert "secret" not in str(caught.value)
        assert "secret" not in sample.running.text()
        sample.eventually_empty()

    def test_a_task_may_replace_itself(self, sample):
        """``self.replace`` with a chord works, and leaves nothing behind."""
        assert sample.replaced.delay(5).get(timeout=30) == 13
        sample.eventually_empty()

    def test_an_own_base_class_works_unchanged(self, sample):
        """A base class that reads arguments in its hooks sees them."""
        assert sample.strict.delay(1, 2, a=3).get(timeout=30) == [2, ["a"]]
        assert sample.notes() == ["before_start 2 ['a']", "call 2", "on_success 2"]
        sample.eventually_empty()

    def test_an_own_base_class_may_change_arguments(self, sample):
        """Arguments that ``before_start`` adds or removes count for the task."""
        assert sample.tidied.delay(ROWS, a=1, _trace=7).get(timeout=30) == {"a": 1, "tidy": True}
        eventually(lambda: sample.notes() == ["trace 7", "SUCCESS 1 {'a': 1, 'tidy': True}"])
        sample.eventually_empty()

    def test_a_task_may_pass_its_own_arguments_on(self, sample):
        """``self.request.args`` can be given to another task as it is."""
        inner = sample.app.AsyncResult(sample.pass_on.delay("value").get(timeout=30))

        assert inner.get(timeout=30) == sample.fingerprint([["value"], {}])
        sample.eventually_empty()

    @pytest.mark.parametrize("name", ["fail", "ignored"])
    def test_ends_without_success_release_too(self, sample, name):
        """A recorded failure and an ignored task are ends: the payload goes."""
        result = getattr(sample, name).delay(ROWS)
        if name == "fail":
            with pytest.raises(ValueError, match="always fails"):
                result.get(timeout=30)

        sample.eventually_empty()

    def test_revoked_and_expired_tasks_release(self, sample):
        """A task that expired before it started never runs, and its payload goes."""
        result = sample.add.apply_async((1, 2), expires=0.001)

        eventually(lambda: result.state == "REVOKED")
        sample.eventually_empty()

    def test_early_acknowledgement_releases_after_the_run(self, sample):
        """With early acks the message goes before the task runs, and the payload after."""
        assert sample.early.delay("x" * 100).get(timeout=30) == 100
        sample.eventually_empty()

    def test_a_rejected_task_keeps_its_payload(self, sample):
        """A task that rejects its message towards a dead-letter queue keeps its payload."""
        result = sample.rejected.delay(ROWS)

        eventually(lambda: result.state == "FAILURE")
        assert len(sample.objects()) == 1

    def test_large_results_come_back(self, sample):
        """With ``result_serializer`` set, a large result goes through the store, and goes when forgotten."""
        small, large = sample.echo.delay("small"), sample.echo.delay(NOISE)

        assert small.get(timeout=30) == "small"
        assert large.get(timeout=30) == NOISE
        eventually(lambda: len(sample.objects()) == 1)

        forget(large)
        forget(large)
        forget(small)
        assert sample.objects() == []
        assert sample.app.AsyncResult(large.id).state == "PENDING"


class TestPrefork(Life):
    pool = "prefork"


class TestThreads(Life):
    pool = "threads"


class TestSolo(Life):
    pool = "solo"


class TestGevent(Life):
    pool = "gevent"


class TestEventlet(Life):
    pool = "eventlet"
