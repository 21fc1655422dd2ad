"""The values that transport options may have."""

import celery
import pytest

import pipeline
from pipeline.transport.transport_options import check_transport_options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("visibility_timeout", 86_400),
        ("visibility_timeout", -1),
        ("visibility_timeout", 0),
        ("visibility_timeout", "60"),
        ("visibility_timeout", True),
        ("max_receive_count", 0),
        ("max_receive_count", 5_000),
        ("wait_time_seconds", 30),
        ("wait_time_seconds", 1.5),
        ("polling_interval", -1),
        ("polling_interval", float("nan")),
        ("redelivery_limit_seconds", 43_201),
        ("sts_token_timeout", 60),
        ("visibility_heartbeat", "no"),
    ],
)
def test_what_cannot_work_is_an_error_with_a_name(name, value):
    """An option that SQS would reject raises ValueError at start-up, with its name, value and limits."""
    with pytest.raises(ValueError, match=rf"^broker_transport_options\['{name}'\] is .*: it must be .*$"):
        check_transport_options({name: value})


@pytest.mark.parametrize("value", ["oops", "59", 1_209_601, 3_600.5, ""])
def test_a_retention_that_cannot_be_is_an_error_with_a_name(value):
    """The retention of new queues, as number or text, is checked before the time chain counts with it."""
    expected = r"^broker_transport_options\['sqs-.*'\]\['MessageRetentionPeriod'\] is .* 60 to 1,209,600$"
    with pytest.raises(ValueError, match=expected):
        check_transport_options({"sqs-creation-attributes": {"MessageRetentionPeriod": value}})


def test_what_works_is_taken():
    """Limits are allowed, and so are options that are not set and options of others."""
    check_transport_options({})
    check_transport_options({"visibility_timeout": None, "fanout_prefix": True, "region": "eu-west-1"})
    check_transport_options(
        {"visibility_timeout": 43_200, "wait_time_seconds": 0, "max_receive_count": 1_000}
    )
    check_transport_options({"polling_interval": 0.5, "supports_fanout": False})
    check_transport_options({"sqs-creation-attributes": {"MessageRetentionPeriod": "60", "Policy": "{}"}})
    check_transport_options({"sqs-creation-attributes": None})


def test_install_checks_them():
    """An app with an option that cannot work is not installed."""
    app = celery.Celery("wrong", broker="sqs://", broker_transport_options={"wait_time_seconds": 30})

    with pytest.raises(ValueError, match=r"must be a whole number of seconds from 0 to 20$"):
        pipeline.install(app, store="file:///tmp/nowhere")
    assert app.conf.task_serializer == "json"
