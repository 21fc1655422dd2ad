"""Settings that nothing reads are found by their likeness to those that are read."""

import pytest
from celery import Celery

from pipeline.admin.doctor.misspelled_settings import misspelled_settings


def app_of(config, **options):
    app = Celery("sample_app", broker="sqs://", set_as_current=False)
    app.config_from_object(config, **options)
    return app


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("transport_options", "broker_transport_options"),
        ("broker_transport_option", "broker_transport_options"),
        ("broker_transports_options", "broker_transport_options"),
        ("visibility_timeout", "broker_transport_options['visibility_timeout']"),
        ("predefined_queues", "broker_transport_options['predefined_queues']"),
        ("wait_time_seconds", "broker_transport_options['wait_time_seconds']"),
        ("acks_late", "task_acks_late"),
        ("task_ack_late", "task_acks_late"),
        ("prefetch_multiplier", "worker_prefetch_multiplier"),
        ("task_default_queues", "task_default_queue"),
        ("task_soft_timelimit", "task_soft_time_limit"),
    ],
)
def test_a_misnamed_setting_is_found(given, meant):
    """A name that is nearly one of Celery's, or one level too high, is reported with the right one."""
    assert list(misspelled_settings(app_of({given: {}}).conf)) == [(given, meant)]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("visibility_timout", "visibility_timeout"),
        ("predefined_queue", "predefined_queues"),
        ("max_receive_counts", "max_receive_count"),
        ("sqs_creation_attributes", "sqs-creation-attributes"),
    ],
)
def test_a_misnamed_transport_option_is_found(given, meant):
    """So is an option of the transport, where nothing else would say that it is not read."""
    found = misspelled_settings(
        app_of({"broker_transport_options": {given: 1, "max_retries": 3, meant: 1}}).conf
    )

    assert list(found) == [(f"broker_transport_options[{given!r}]", f"broker_transport_options[{meant!r}]")]


def test_settings_are_found_under_a_namespace():
    """With a namespace, as Django's, only what begins with it is Celery's business."""
    config = {
        "CELERY_TRANSPORT_OPTIONS": {},
        "CELERY_TASK_ACKS_LATE": True,
        "TRANSPORT_OPTIONS": {},
        "DEBUG": 1,
    }

    assert list(misspelled_settings(app_of(config, namespace="CELERY").conf)) == [
        ("CELERY_TRANSPORT_OPTIONS", "broker_transport_options")
    ]


@pytest.mark.parametrize(
    "config",
    [
        {"broker_transport_options": {"visibility_timeout": 60}, "task_acks_late": True},
        {"BROKER_TRANSPORT_OPTIONS": {}, "CELERY_ACKS_LATE": True},
        {"reports_bucket": "a", "feature_flags": {}},
    ],
)
def test_settings_that_are_read_are_left_alone(config):
    """Celery's own names, new and old, and the application's own settings are no findings."""
    assert list(misspelled_settings(app_of(config).conf)) == []
