"""The life of a payload on every pool: offloaded, rehydrated where the task runs, released at its end."""

import random

import pytest
from celery import chain, chord, group
from celery.exceptions import MaxRetriesExceededError
from shops import cleared, standing_shop
from workers import eventually

from pipeline.results import forget

pytestmark = [pytest.mark.aws, pytest.mark.worker]

ROWS = [{"id": i, "name": f"row {i}"} for i in range(50)]
NOISE = random.Random(1).randbytes(5_000)
OPTIONS = {"threshold_bytes": 0, "result_threshold_bytes": 2_000}
CONF = {"result_serializer": "claimcheck"}


class Life:
    """What holds on every pool; each of its kinds runs one worker for all of its tests."""

    @pytest.fixture(scope="class")
    @classmethod
    def running(cls, moto, tmp_path_factory):
        """A shop where everything goes through the store, with a worker of this pool."""
        with standing_shop(
            moto, tmp_path_factory.mktemp("shop"), pool=cls.pool, options=OPTIONS, conf=CONF
        ) as shop:
            yield shop

    @pytest.fixture
    def shop(self, running, moto, monkeypatch):
        """The shop of this class, without what earlier tests left."""
        return cleared(running, moto, monkeypatch)

    def test_arguments_arrive_and_payloads_go(self, shop):
        """On every pool a task gets the arguments it was called with, and its payload is gone afterwards."""
        result = shop.digest.delay(ROWS, b"\xff" * 1000, name="x")

        assert result.get(timeout=30) == shop.fingerprint([[ROWS, b"\xff" * 1000], {"name": "x"}])
        shop.eventually_empty()

    def test_canvas_works_unchanged(self, shop):
        """Chains, groups, chords, maps, chunks and starmaps work with every argument in the store."""
        add, total, double = shop.add, shop.total, shop.double
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
        shop.eventually_empty()

    def test_links_and_errbacks_get_their_arguments(self, shop):
        """Callbacks and errbacks whose arguments were too big to travel are called with them."""
        linked = shop.add.apply_async((1, 2), link=shop.add.s(10))
        failed = shop.fail.apply_async((ROWS,), link_error=[shop.errback.s(), shop.old_errback.s("x" * 700)])

        with pytest.raises(ValueError, match="always fails"):
            failed.get(timeout=30)

        assert linked.get(timeout=30) == 3
        assert eventually(lambda: linked.children and linked.children[0].get(timeout=30)) == 13
        eventually(lambda: len(shop.notes()) == 2)
        assert f"errback {failed.id} ValueError" in shop.notes()
        assert f"errback 700 {failed.id}" in shop.notes()
        shop.eventually_empty()

    def test_retries_carry_their_arguments(self, shop):
        """Each retry is called with the same arguments, and no payload is left of any attempt."""
        assert shop.retry_twice.delay("x" * 1000, a=1).get(timeout=30) == 1000
        assert shop.notes() == ["attempt 0 1000", "attempt 1 1000", "attempt 2 1000"]
        shop.eventually_empty()

    def test_a_task_out_of_retries_shows_no_arguments(self, shop):
        """The error of a task that has retried often enough does not hold its arguments' text."""
        with pytest.raises(MaxRetriesExceededError) as caught:
            shop.retry_forever.delay("top secret text").get(timeout=30)

        assert "secret" not in str(caught.value)
        assert "secret" not in shop.running.text()
        shop.eventually_empty()

    def test_a_task_may_replace_itself(self, shop):
        """``self.replace`` with a chord works, and leaves nothing behind."""
        assert shop.replaced.delay(5).get(timeout=30) == 13
        shop.eventually_empty()

    def test_an_own_base_class_works_unchanged(self, shop):
        """A base class that reads arguments in its hooks sees them."""
        assert shop.strict.delay(1, 2, a=3).get(timeout=30) == [2, ["a"]]
        assert shop.notes() == ["before_start 2 ['a']", "call 2", "on_success 2"]
        shop.eventually_empty()

    def test_an_own_base_class_may_change_arguments(self, shop):
        """What ``before_start`` takes out of a task's arguments or puts in counts for the task."""
        assert shop.tidied.delay(ROWS, a=1, _trace=7).get(timeout=30) == {"a": 1, "tidy": True}
        eventually(lambda: shop.notes() == ["trace 7", "SUCCESS 1 {'a': 1, 'tidy': True}"])
        shop.eventually_empty()

    def test_a_task_may_pass_its_own_arguments_on(self, shop):
        """``self.request.args`` can be given to another task as it is."""
        inner = shop.app.AsyncResult(shop.pass_on.delay("value").get(timeout=30))

        assert inner.get(timeout=30) == shop.fingerprint([["value"], {}])
        shop.eventually_empty()

    @pytest.mark.parametrize("name", ["fail", "ignored"])
    def test_ends_without_success_release_too(self, shop, name):
        """A recorded failure and an ignored task are ends: the payload goes."""
        result = getattr(shop, name).delay(ROWS)
        if name == "fail":
            with pytest.raises(ValueError, match="always fails"):
                result.get(timeout=30)

        shop.eventually_empty()

    def test_revoked_and_expired_tasks_release(self, shop):
        """A task that expired before it started never runs, and its payload goes."""
        result = shop.add.apply_async((1, 2), expires=0.001)

        eventually(lambda: result.state == "REVOKED")
        shop.eventually_empty()

    def test_early_acknowledgement_releases_after_the_run(self, shop):
        """With early acks the message goes before the task runs, and the payload after."""
        assert shop.early.delay("x" * 100).get(timeout=30) == 100
        shop.eventually_empty()

    def test_a_rejected_task_keeps_its_payload(self, shop):
        """A task that rejects its message towards a dead-letter queue keeps its payload."""
        result = shop.rejected.delay(ROWS)

        eventually(lambda: result.state == "FAILURE")
        assert len(shop.objects()) == 1

    def test_large_results_come_back(self, shop):
        """With ``result_serializer`` set, a large result goes through the store, and goes when forgotten."""
        small, large = shop.echo.delay("small"), shop.echo.delay(NOISE)

        assert small.get(timeout=30) == "small"
        assert large.get(timeout=30) == NOISE
        eventually(lambda: len(shop.objects()) == 1)

        forget(large)
        forget(large)
        forget(small)
        assert shop.objects() == []
        assert shop.app.AsyncResult(large.id).state == "PENDING"


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
