"""Calls that must run once, while their store is away or their time is up."""

from time import sleep

import pytest
from idempotent_fixtures import POOLS, RESULT_KEPT, worker
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]


@pytest.fixture
def store(moto_aws):
    """The URL of a store on moto."""
    return f"s3://{moto_aws.bucket()}/claims"


@pytest.fixture
def fragile(s3, idempotent_sample_of, store):
    """An idempotent app that waits two seconds for its store and then gives the message back."""
    return idempotent_sample_of(store=store, options={"store_retry_seconds": 2})


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("operation", ["GetObject", "PutObject"])
def test_an_outage_before_the_run_redelivers(fragile, s3, pool, operation):
    """Without its record no call runs: the message goes back, and runs when the store is there again."""
    running = worker(fragile, pool)
    s3.fail(operation, status=503)
    result = fragile.idempotent_app.charge.delay("order")
    eventually(lambda: "StoreUnavailableError" in running.text(), 60)

    assert fragile.notes() == []
    assert result.state == "PENDING"

    s3.heal()
    assert result.get(timeout=60)
    assert fragile.notes() == ["charged"]


def test_an_outage_after_the_run_does_not_fail_it(fragile, s3):
    """If the result cannot be kept, the task has run all the same, and has its result."""
    running = worker(fragile)
    result = fragile.idempotent_app.charge.delay("order", 2)
    eventually(lambda: fragile.notes() == ["charged"])
    s3.fail("PutObject", status=503)

    assert result.get(timeout=60)
    assert "result not kept" in running.text()
    assert fragile.notes() == ["charged"]


SOFT = {"soft_time_limit": 3, "time_limit": 60}
HARD = {"time_limit": 3}


@pytest.fixture
def limited(request, s3, idempotent_sample_of, store):
    """An idempotent app whose calls have three seconds, less than its store is waited for."""
    conf = {"task_annotations": {"idempotent_app.charge": getattr(request, "param", SOFT)}}
    return idempotent_sample_of(store=store, options={"store_retry_seconds": 20}, conf=conf)


@pytest.mark.parametrize(("limited", "kind"), [(SOFT, "soft"), (HARD, "hard")], indirect=["limited"])
def test_a_time_limit_before_the_run(limited, s3, kind):
    """A soft time limit while the record is written leads to a redelivery, which runs the call."""
    running = worker(limited, "prefork")
    s3.fail("PutObject", status=503)
    result = limited.idempotent_app.charge.delay("order")
    eventually(lambda: f"{kind} time limit came first" in running.text(), 60)
    s3.heal()

    assert result.get(timeout=60)
    assert limited.notes() == ["charged"]


def test_a_soft_time_limit_while_s3_is_silent(limited, s3):
    """A limit that comes in the middle of a request is not taken for a failure of the network, and lost."""
    running = worker(limited, "prefork")
    s3.delay(600, "PutObject", times=1)
    result = limited.idempotent_app.charge.delay("order")
    eventually(lambda: "soft time limit came first" in running.text(), 60)

    assert result.get(timeout=60)
    assert limited.notes() == ["charged"]


def test_a_soft_time_limit_after_the_run(limited, s3):
    """A soft time limit while the result is written does not undo the call, which keeps its result."""
    running = worker(limited, "prefork")
    result = limited.idempotent_app.charge.delay("order", 1)
    eventually(limited.notes)
    s3.fail("PutObject", status=503)
    sleep(4)
    s3.heal()

    assert result.get(timeout=60)
    limited.idempotent_app.charge.apply_async(("order", 1), task_id=result.id)
    eventually(lambda: RESULT_KEPT in running.text())
    assert limited.notes() == ["charged"]


def test_an_outage_after_a_failure_keeps_its_error(fragile, s3):
    """If the record cannot be removed, the task has failed with its own error all the same."""
    running = worker(fragile)
    s3.fail("DeleteObject", status=503)
    with pytest.raises(ValueError, match="first attempt"):
        fragile.idempotent_app.fail_once.delay("order").get(timeout=60)

    assert "record not removed" in running.text()


def test_lost_answers_are_no_second_owners(fragile, s3):
    """An answer of the store that got lost does not make a delivery wait for itself."""
    running = worker(fragile)
    s3.lose("PutObject", times=1)
    result = fragile.idempotent_app.charge.delay("order", 2)
    eventually(lambda: fragile.notes() == ["charged"])
    s3.lose("PutObject", times=1)

    assert result.get(timeout=60)
    assert fragile.notes() == ["charged"]
    assert "took over" not in running.text()
    assert "in progress" not in running.text()
