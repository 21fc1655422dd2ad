"""Values on their whole way: from a publisher through SQS and S3 into a task, and back as its result."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from kombu.exceptions import EncodeError
from sample_fixtures import imported

pytestmark = [pytest.mark.aws, pytest.mark.worker]

VALUE = {
    "keys": {1: 1, "1": 2, None: 3, (1, ("a",)): 4, date(2026, 1, 1): 5, "2026-01-01": 6, 2**70: 7},
    "sets": [{1, "a"}, frozenset({(1, 2)}), {UUID(int=1)}],
    "times": [timedelta(1, 2, 3), datetime(2026, 10, 25, 2, 30, fold=1), datetime(2026, 1, 1, tzinfo=UTC)],
    "text": ["\ud83d", {"__type__": "nope", "__value__": 1}],
}
CONF = {"result_serializer": "claimcheck"}


@pytest.mark.parametrize("threshold_bytes", [0, 262_144], ids=["offloaded", "inline"])
def test_a_value_comes_back_equal(sample_of, moto_aws, threshold_bytes):
    """A task gets what it was sent, by position and by name, and its result is what it returned."""
    options = {"threshold_bytes": threshold_bytes}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=options, conf=CONF)
    sample.worker(pool="threads")
    results = [sample.echo.delay(VALUE), sample.echo.delay(value=VALUE)]

    for back in (result.get(timeout=30) for result in results):
        assert back == VALUE
        assert back["times"][1].fold == 1


def test_arrays_and_tables_come_back_equal(sample_of, moto_aws):
    """A task gets arrays and tables as they were sent, by position and by name, and returns them so."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf=CONF)
    sample.worker(concurrency=1)
    array = np.random.default_rng(1).random((99, 999))
    frame = pd.DataFrame({"n": [1.5, None], "t": pd.to_datetime([1, None])}, index=[7, 9])
    results = [sample.echo.delay([array, frame]), sample.echo.delay(value=[array, frame])]

    for back_array, back_frame in (result.get(timeout=30) for result in results):
        assert np.array_equal(back_array, array)
        pd.testing.assert_frame_equal(back_frame, frame)


@pytest.fixture
def models(sample):
    """The sample's tasks that take pydantic models."""
    with imported("pydantic_app") as module:
        yield module


def test_models_arrive_as_models(sample, models):
    """Celery's pydantic=True works, small and large: the task gets a model, and the payload is released."""
    sample.worker(app="pydantic_app", pool="threads")
    orders = [
        models.Order(due=date(2026, 1, 2), lines=[models.Line(name=f"{i}", price=Decimal("1.10"))] * count)
        for i, count in enumerate((1, 30_000))
    ]
    results = [models.raised.delay(order, percent=10) for order in orders]

    for order, result in zip(orders, results, strict=True):
        back = models.Order.model_validate(result.get(timeout=30))
        assert back.due == order.due
        assert [line.price for line in back.lines] == [Decimal("1.21")] * len(order.lines)
    assert sample.notes() == ["Order", "Order"]
    sample.eventually_empty()


def test_a_model_of_another_task_names_celery_s_way(sample, models):
    """A model for a task without ``pydantic=True`` raises, and nothing is stored."""
    with pytest.raises(EncodeError, match=r"path=\[0\]\[0\], type=pydantic_app\.Order.*pydantic=True"):
        sample.echo.delay(models.Order(due=date(2026, 1, 2), lines=[]))

    assert sample.objects() == []


def test_result_extended_describes_what_json_lacks(sample_of, moto_aws):
    """A backend that writes JSON keeps arguments as JSON has them, and no result is lost."""
    conf = {"result_extended": True}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0}, conf=conf)
    sample.worker(pool="threads")
    result = sample.weighed.delay({(1, 2): {3}, 4: timedelta(1), "m": VALUE["text"][1]}, value={"a"})

    assert result.get(timeout=30) == 2
    assert result.args == [{"(1, 2)": [3], "4": "1 day, 0:00:00", "m": str(VALUE["text"][1])}]
    assert result.kwargs == {"value": ["a"]}
