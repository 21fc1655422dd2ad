"""Configurations and arguments with which ``install`` raises."""

from pathlib import Path

import pytest
from celery import Celery
from kombu import Queue

import pipeline
from pipeline.installation import uninstall
from pipeline.metrics import NullSink
from pipeline.serializer import serializer
from pipeline.stores.memory import MemoryStore


@pytest.fixture
def app():
    yield Celery("sample_app", broker="sqs://", set_as_current=False)
    uninstall()


@pytest.mark.parametrize(
    ("conf", "options", "expected"),
    [
        (
            {},
            {"treshold_bytes": 1},
            r"unknown option treshold_bytes \(did you mean threshold_bytes\?\): expected one of alias, thres",
        ),
        (
            {},
            {"encryption": "AES256"},
            r"unknown option encryption \(did you mean server_side_encryption\?\)",
        ),
        ({}, {"key_id": "k"}, r"unknown option key_id \(did you mean kms_key_id\?\)"),
        ({}, {"nothing_like_it": 1}, "unknown option nothing_like_it: expected one of alias"),
        ({}, {"threshold_bytes": -1}, "threshold_bytes=-1"),
        ({}, {"codec": "yaml"}, "codec='yaml'"),
        ({"result_extended": True, "result_serializer": "yaml"}, {}, "result_serializer='yaml' cannot write"),
        ({"task_time_limit": 10, "task_soft_time_limit": 10}, {}, "soft time limit 10 s is not below"),
        ({"task_time_limit": 43_200}, {}, "not below the 43200 s for which SQS can hide a message"),
        ({"task_soft_time_limit": 43_200}, {}, "not below the 43200 s for which SQS can hide a message"),
        (
            {"task_time_limit": 60, "broker_transport_options": {"visibility_heartbeat": False}},
            {},
            "not below the visibility timeout 60 s",
        ),
        (
            {
                "task_time_limit": 60,
                "broker_transport_options": {"visibility_timeout": 60, "visibility_heartbeat": False},
            },
            {},
            r"raise broker_transport_options\['visibility_timeout'\]",
        ),
        ({}, {"payload_ttl_seconds": 86_400}, "payload_ttl_seconds=86400 is not above queue retention"),
        (
            {"broker_transport_options": {"sqs-creation-attributes": {"MessageRetentionPeriod": "1209600"}}},
            {"payload_ttl_seconds": 20 * 86_400},
            "time chain broken",
        ),
        ({"task_default_queue": "a.fifo"}, {"payload_ttl_seconds": 23 * 86_400}, "twice for FIFO"),
        ({"task_queues": [Queue("a.fifo")]}, {"payload_ttl_seconds": 23 * 86_400}, "twice for FIFO"),
        ({"task_routes": {"x": {"queue": "a.fifo"}}}, {"payload_ttl_seconds": 23 * 86_400}, "twice for FIFO"),
        (
            {"broker_transport_options": {"predefined_queues": {"a.fifo": {"url": "http://sqs/a.fifo"}}}},
            {"payload_ttl_seconds": 23 * 86_400},
            "twice for FIFO",
        ),
    ],
)
def test_a_wrong_configuration_raises(app, conf, options, expected):
    """A setting that cannot work, or could lose messages, raises ValueError with its name and the fix."""
    app.conf.update(conf)

    with pytest.raises(ValueError, match=expected):
        pipeline.install(app, "memory://shop", **options)

    assert not serializer.is_installed()


@pytest.mark.parametrize(
    ("store", "options", "expected"),
    [
        ("s3://payloads/x/results", {}, "store prefix or directory 'x/results' ends with 'results', where a"),
        ("s3://payloads/results/", {}, "'results' ends with 'results'"),
        (MemoryStore("x/once"), {}, "'x/once' ends with 'once'"),
        ("file:///var/claims/revoked/", {}, "'/var/claims/revoked' ends with 'revoked'"),
        (None, {}, "no store: give pipeline.install a URL such as s3://.*, or set claimcheck_store in the"),
        (Path("/tmp/claims"), {}, "store is of type PosixPath: expected a URL such as s3://"),
        (MemoryStore("a"), {"server_side_encryption": "AES256"}, "server_side_encryption has no effect on a"),
        (MemoryStore("a"), {"kms_key_id": "k"}, "kms_key_id has no effect on a store object"),
        (
            "s3://payloads",
            {"server_side_encryption": "aes"},
            "server_side_encryption='aes': expected None, 'A",
        ),
    ],
)
def test_a_store_that_cannot_work_is_an_error(app, store, options, expected):
    """``install`` raises for what is no store, and for encryption that the store would not apply."""
    with pytest.raises(ValueError, match=expected):
        pipeline.install(app, store, **options)

    assert not serializer.is_installed()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"metrics": "x"}, "metrics is of type str: expected a sink such as CloudWatchSink"),
        ({"metrics": NullSink}, "metrics is the class NullSink: expected a sink"),
        ({"metrics": False}, "metrics is of type bool: expected a sink"),
        ({"app": "sample_app"}, "app is of type str: expected the Celery app"),
        ({"app": Celery}, "app is the class Celery: expected the Celery app"),
        ({"store": MemoryStore}, "store is the class MemoryStore: expected a URL such as s3://"),
        (
            {"store": "s3://payloads", "server_side_encryption": "aws:kms", "kms_key_id": 5},
            "kms_key_id is of type int: expected the id or ARN of a key",
        ),
        ({"store": "s3://payloads", "server_side_encryption": True}, "server_side_encryption=True: expected"),
        (
            {"stores": {"up": "dynamodb://uploads"}},
            "'up'.*: handles need a store with parts and ranges",
        ),
    ],
)
def test_an_argument_of_a_wrong_type_is_an_error(app, arguments, expected):
    """What ``install`` is given is checked there, and not where it is first used."""
    with pytest.raises(ValueError, match=expected):
        pipeline.install(**{"app": app, "store": "memory://shop", **arguments})

    assert not serializer.is_installed()


@pytest.mark.parametrize(("queue", "days"), [("a", 20), ("a.fifo", 24)])
def test_a_payload_that_outlives_its_message_is_enough(app, queue, days):
    """A day above the sum of retentions will do: that of a FIFO queue counts twice, and of no other."""
    app.conf.task_default_queue = queue

    assert pipeline.install(app, "memory://shop", payload_ttl_seconds=days * 86_400)


def test_installing_twice_raises(app):
    """Kombu has one registry per process, and so the claim check is one."""
    pipeline.install(app, "memory://shop")

    with pytest.raises(ValueError, match="installed in this process already"):
        pipeline.install(app, "memory://shop")


@pytest.mark.parametrize(
    ("stores", "expected"),
    [
        (
            {"default": "memory://x"},
            "'default' is not an alias: expected a lower-case name other than 'default'",
        ),
        ({"Uploads": "memory://x"}, "'Uploads' is not an alias"),
        ({1: "memory://x"}, "1 is not an alias"),
        ({"uploads": 7}, r"stores\['uploads'\] is of type int: expected a URL"),
        ({"uploads": "ftp://x"}, "unknown scheme 'ftp'"),
        (["memory://x"], "stores is of type list: expected a dict"),
    ],
)
def test_further_stores_are_checked(app, stores, expected):
    """A further store has an alias of its own, and is a store."""
    with pytest.raises(ValueError, match=expected):
        pipeline.install(app, "memory://shop", stores=stores)
