"""A call that is delivered twice runs once: with real workers, over real queues and stores."""

import pytest
from idempotent_fixtures import POOLS, RESULT_KEPT, records, returned, worker
from workers import eventually

from pipeline.claimcheck.signed_record import record_key
from pipeline.idempotency.execution import IN_PROGRESS_WAIT_SECONDS
from pipeline.results import forget
from pipeline.serializer import serializer

pytestmark = [pytest.mark.aws, pytest.mark.worker]


@pytest.fixture
def store(moto_aws):
    """The URL of a store on moto."""
    return f"s3://{moto_aws.bucket()}/claims"


@pytest.fixture
def sample(idempotent_sample_of, store):
    """A sample whose arguments travel in the message, so that the store holds records and nothing else."""
    return idempotent_sample_of(store=store)


@pytest.mark.parametrize("pool", POOLS)
def test_a_second_delivery_gets_the_first_result(sample, pool):
    """A message delivered twice runs its effect once, and both deliveries have the same result."""
    running = worker(sample, pool)
    result = sample.idempotent_app.charge.apply_async(("order",), task_id="one")
    first = result.get(timeout=30)
    result.forget()
    sample.idempotent_app.charge.apply_async(("order",), task_id="one")

    assert result.get(timeout=30) == first
    assert sample.notes() == ["charged"]
    assert RESULT_KEPT in running.text()
    assert len(records(sample)) == 1


@pytest.mark.parametrize("kind", ["s3", "file"])
def test_every_store_that_workers_share_will_do(aws, idempotent_sample_of, tmp_path, kind):
    """Both stand-ins and a directory run a task once for two deliveries at once."""
    sample = idempotent_sample_of(
        store=f"s3://{aws.bucket()}" if kind == "s3" else f"file://{tmp_path}/payloads"
    )
    running = worker(sample, "prefork", concurrency=2)
    for _ in range(2):
        sample.idempotent_app.charge.apply_async(("order", 1), task_id="one")
    first, second = eventually(lambda: len(found := returned(running)) == 2 and found)

    assert first == second
    assert sample.notes() == ["charged"]
    assert len(records(sample)) == 1


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("seconds", [2, 8])
def test_two_at_the_same_time_run_once(sample, pool, seconds):
    """Two deliveries at once run once: the other waits, or comes again, and has the same result."""
    running = [worker(sample, pool, concurrency=1) for _ in range(2)]
    for _ in range(2):
        sample.idempotent_app.charge.apply_async(("order", seconds), task_id="one")
    first, second = eventually(lambda: len(found := returned(*running)) == 2 and found, 90)

    assert first == second
    assert sample.notes() == ["charged"]
    if seconds > IN_PROGRESS_WAIT_SECONDS:
        assert "task in progress" in running[0].text() + running[1].text()


def test_an_early_acknowledged_call_waits_for_the_other(sample, moto_aws):
    """Its message is gone, so it is sent again for later while the other runs, and has its result then."""
    worker(sample, concurrency=2)
    results = [sample.idempotent_app.charge_early.delay("order") for _ in range(2)]
    eventually(lambda: moto_aws.depth(sample.queue).delayed == 1)
    sample.note("go on")
    first, second = [result.get(timeout=60) for result in results]

    assert first == second
    assert sample.notes().count("charged") == 1


def test_a_failed_call_runs_again(sample):
    """A failure is recorded as with any task, and the call may run again."""
    worker(sample)
    result = sample.idempotent_app.fail_once.apply_async(("order",), task_id="one")
    with pytest.raises(ValueError, match="first attempt"):
        result.get(timeout=30)
    eventually(lambda: records(sample) == [])
    result.forget()

    assert sample.idempotent_app.fail_once.apply_async(("order",), task_id="one").get(timeout=30)
    assert sample.notes() == ["tried", "tried"]


@pytest.mark.parametrize("pool", POOLS)
def test_retries_run(sample, pool):
    """A retry has the same task id, and runs although it may arrive before its predecessor has ended."""
    worker(sample, pool)

    assert sample.idempotent_app.retry_at_once.delay("order").get(timeout=60)
    assert sample.notes() == ["attempt 0", "attempt 1", "attempt 2"]
    assert len(records(sample)) == 1


def test_automatic_retries_run_and_are_for_failures_alone(sample):
    """``autoretry_for`` retries what the task raises, and not that it is in progress elsewhere."""
    running = worker(sample, concurrency=2)
    sample.idempotent_app.auto.apply_async((8,), task_id="one")
    eventually(lambda: sample.notes() == ["auto", "auto"])
    sample.idempotent_app.auto.apply_async((8,), task_id="one")
    first, second = eventually(lambda: len(found := returned(running)) == 2 and found, 90)

    assert first == second
    assert sample.notes() == ["auto", "auto"]
    assert running.text().count("Retry in 0s") == 1


def test_a_child_killed_in_the_middle_is_replaced(sample):
    """The next delivery runs once the record of a killed run has expired."""
    worker(sample, "prefork", concurrency=1)

    assert sample.idempotent_app.killed.delay("order").get(timeout=90)
    assert sample.notes() == ["dying", "dying"]
    assert len(records(sample)) == 1


def test_a_child_killed_before_the_acknowledgement_has_run(sample):
    """A delivery that ended but was not acknowledged comes again, and runs nothing."""
    running = worker(sample, "prefork", concurrency=1)
    sample.idempotent_app.dies_afterwards.delay("order")
    eventually(lambda: RESULT_KEPT in running.text(), 60)

    assert sample.notes() == ["charged", "afterwards", "afterwards"]


def test_a_slow_run_that_was_replaced_changes_nothing(sample):
    """A run that outlives its time is replaced, and its late result does not count."""
    running = worker(sample, concurrency=2)
    for _ in range(2):
        sample.idempotent_app.overrun.apply_async((6,), task_id="one")
    eventually(lambda: len(returned(running)) == 2)
    sample.idempotent_app.overrun.apply_async((6,), task_id="one")
    eventually(lambda: len(returned(running)) == 3)

    assert returned(running) == ["'run 2'", "'run 1'", "'run 2'"]
    assert sample.notes() == ["begun", "begun", "ended", "ended"]
    assert "another delivery took over" in running.text()


def test_a_big_result_comes_back(idempotent_sample_of, store):
    """Five megabytes of result are kept, and come back equal."""
    sample = idempotent_sample_of(store=store, conf={"result_serializer": "claimcheck"})
    worker(sample)
    first = sample.idempotent_app.big.apply_async((5_000_000,), task_id="one")
    content = first.get(timeout=30)
    forget(first)
    second = sample.idempotent_app.big.apply_async((5_000_000,), task_id="one")

    assert second.get(timeout=30) == content
    assert len(content) == 5_000_000
    assert sample.notes() == ["made"]


def test_a_key_distinguishes_calls(sample):
    """With a key, a second call with the same key has the first one's result, and another runs."""
    worker(sample)
    refund, ship = sample.idempotent_app.refund, sample.idempotent_app.ship
    first = refund.delay(10, order_id="a").get(timeout=30)

    assert refund.delay(99, "a").get(timeout=30) == first
    assert refund.delay(10, order_id="b").get(timeout=30) != first
    assert refund.delay(5).get(timeout=30) == refund.delay(6, "none").get(timeout=30)
    shipped = ship.delay({"id": 1, "sample_app": "x"}).get(timeout=30)
    assert ship.delay({"sample_app": "x", "id": 1, "colour": "red"}, speed=2).get(timeout=30) == shipped
    assert ship.delay({"id": 2, "sample_app": "x"}).get(timeout=30) != shipped
    assert sample.notes() == [
        "refunded 10",
        "refunded 10",
        "refunded 5",
        "shipped by idempotent_app.ship at 1",
        "shipped by idempotent_app.ship at 1",
    ]


def test_the_key_shows_nowhere(idempotent_sample_of, store):
    """The idempotency key appears in no object, key or log line."""
    sample = idempotent_sample_of(store=store, options={"threshold_bytes": 0})
    running = worker(sample)
    sample.idempotent_app.refund.delay(1, order_id="secret-4711").get(timeout=30)
    sample.idempotent_app.refund.delay(2, order_id="secret-4711").get(timeout=30)
    [key] = eventually(lambda: records(sample) == sample.objects() and records(sample))
    content, _ = serializer.installed().store.records().read(key)

    assert "4711" not in running.text() + key
    assert b"4711" not in content
    assert RESULT_KEPT in running.text()


def test_a_call_without_a_key_fails(sample):
    """A call with an empty idempotency key fails and does not run."""
    worker(sample)
    with pytest.raises(ValueError, match="empty"):
        sample.idempotent_app.refund.delay(1, order_id=None).get(timeout=30)

    assert sample.notes() == []


def test_a_task_called_as_a_function_just_runs(sample):
    """Called by another task, an idempotent task is a function like any other."""
    worker(sample)
    tokens = sample.idempotent_app.outer.delay("order").get(timeout=30)

    assert len(set(tokens)) == 2
    assert records(sample) == []


def test_a_result_that_cannot_be_kept_fails_the_task(sample):
    """A result that cannot be encoded is a failure, as it is for Celery."""
    worker(sample)
    with pytest.raises(Exception, match="not serialisable"):
        sample.idempotent_app.unencodable.delay("order").get(timeout=30)

    assert records(sample) == []


def test_a_forged_record_is_rejected(sample):
    """A record that is not ours runs nothing and returns nothing: its task fails, and says why."""
    worker(sample)
    key = record_key("claims", "idempotent_app.charge", '"one"')
    serializer.installed().store.records().write(key, b"forged", None)

    result = sample.idempotent_app.charge.apply_async(("order",), task_id="one")
    with pytest.raises(Exception, match="record corrupt"):
        result.get(timeout=30)
    assert sample.notes() == []
