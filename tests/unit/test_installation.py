"""One call puts the claim check into an app, or says what is wrong."""

import logging
from pathlib import Path

import pytest
from app_state import cached, state
from celery import Celery, Task
from celery.contrib.testing.worker import start_worker
from kombu import Queue

import pipeline
from pipeline import undo
from pipeline.installation import uninstall
from pipeline.metrics import NullSink
from pipeline.metrics import table as metrics
from pipeline.serializer import serializer
from pipeline.stores.memory import MemoryStore
from pipeline.transport import Transport


@pytest.fixture
def app():
    yield Celery("sample_app", broker="sqs://", set_as_current=False)
    uninstall()


def test_install_sets_what_an_app_needs(app):
    """Serializer, accept list, transport and publisher are set; what else the app accepts is kept."""
    made = pipeline.install(app, "memory://shop", metrics=NullSink())

    assert serializer.installed() is made
    assert app.conf.task_serializer == "claimcheck"
    assert set(app.conf.accept_content) == {"json", "claimcheck"}
    assert app.conf.broker_transport == "claimcheck-sqs"
    assert app.connection_for_write().get_transport_cls() is Transport
    assert "transport:claimcheck-sqs results:" in app.bugreport()
    assert app.amqp.as_task_v2.__qualname__.startswith("PublisherMixin")
    assert made.wire.base64_layers == 1


def test_other_brokers_keep_their_transport():
    """On a broker other than SQS nothing but the serializer changes."""
    app = Celery("sample_app", broker="redis://", set_as_current=False)
    try:
        made = pipeline.install(app, "memory://shop")

        assert app.conf.broker_transport is None
        assert made.wire.base64_layers == 1
    finally:
        uninstall()


def test_results_are_accepted_where_the_app_lists_them(app):
    """An app with its own list of result content types gets ours added."""
    app.conf.result_accept_content = ["json"]
    pipeline.install(app, "memory://shop")

    assert set(app.conf.result_accept_content) == {"json", "claimcheck"}


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
def test_a_wrong_configuration_is_refused(app, conf, options, expected):
    """What cannot work, or could lose messages, is refused with the setting's name and the mend."""
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
    """What is no store, and an encryption that nobody would apply, is an error of ``install``."""
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
    ],
)
def test_an_argument_of_a_wrong_type_is_an_error(app, arguments, expected):
    """What ``install`` is given is checked there, and not where it is first used."""
    with pytest.raises(ValueError, match=expected):
        pipeline.install(**{"app": app, "store": "memory://shop", **arguments})

    assert not serializer.is_installed()


def test_a_sink_may_be_empty(app):
    """A sink that is false in a condition is a sink all the same."""

    class ListSink(list):
        def emit(self, batch):
            self.extend(batch)

    sink = ListSink()
    pipeline.install(app, "memory://shop", metrics=sink)
    serializer.installed().recorder.record(metrics.PAYLOADS_MISSING)
    serializer.installed().recorder.close()

    assert sink


@pytest.mark.parametrize(("queue", "days"), [("a", 20), ("a.fifo", 24)])
def test_a_payload_that_outlives_its_message_is_enough(app, queue, days):
    """A day above the sum of retentions will do: that of a FIFO queue counts twice, and of no other."""
    app.conf.task_default_queue = queue

    assert pipeline.install(app, "memory://shop", payload_ttl_seconds=days * 86_400)


def test_installing_twice_is_refused(app):
    """Kombu has one registry per process, and so the claim check is one."""
    pipeline.install(app, "memory://shop")

    with pytest.raises(ValueError, match="installed in this process already"):
        pipeline.install(app, "memory://shop")


def test_an_app_may_be_installed_anew(app):
    """A test suite that uninstalls after each test may install for the same app again."""
    pipeline.install(app, "memory://shop")
    uninstall()
    made = pipeline.install(app, "memory://shop")

    assert serializer.installed() is made


def test_a_store_may_be_an_object(app, store):
    """Any object with a store's four verbs will do."""
    assert pipeline.install(app, store).store is store


@pytest.mark.parametrize("args", ["abc", {"a": 1}, {1, 2}, range(3)])
def test_what_is_no_list_of_arguments_is_refused(args):
    """``apply_async`` takes a list or a tuple, as Celery does, and not whatever can be made one."""
    app = Celery("sample_app", broker="memory://", set_as_current=False)
    try:
        pipeline.install(app, "memory://shop")

        @app.task(shared=False)
        def count(*args):
            return len(args)

        with pytest.raises(TypeError, match="must be a list or tuple"):
            count.apply_async(args)
    finally:
        uninstall()


class Late(Task):
    """A class of tasks that is bound when it is registered."""

    def run(self, value):
        return value


@pytest.fixture
def bound(app):
    """Tasks that were bound before the claim check is installed, by what chose their serializer."""
    app.conf.task_annotations = {"annotated": {"serializer": "json"}}
    options = {
        "nobody": {},
        "annotated": {},
        "decorator": {"serializer": "json"},
        "other": {"serializer": "yaml"},
    }
    for name, given in options.items():

        @app.task(name=name, shared=False, **given)
        def each(value):
            return value

    app.register_task(type("Chosen", (Late,), {"name": "class", "serializer": "json"})())
    app.register_task(type("Registered", (Late,), {"name": "registered"})())
    app.finalize()
    return app.tasks


@pytest.mark.parametrize("broker", ["sqs://", "memory://"])
@pytest.mark.parametrize("options", [{}, {"publish": False}, {"signing_key": bytes(32)}])
def test_what_was_installed_can_be_undone(app, bound, broker, options):
    """``uninstall`` gives the app back its settings, parts, steps and cached objects, and all signals."""
    app.conf.update(broker_url=broker, result_backend="cache+memory://", result_extended=True)
    assert all([app.amqp, app.control, app.backend])
    before = state(app), cached(app)
    pipeline.install(app, "memory://shop", **options)
    assert app.amqp.producer_pool
    assert state(app) != before[0]
    pipeline.uninstall()

    assert (state(app), cached(app)) == before


def test_a_worker_can_be_undone():
    """After a worker has run in this process, ``uninstall`` restores tasks, signals and filters as well."""
    app = Celery("sample_app", broker="memory://", set_as_current=False)
    assert all([app.tasks, app.amqp, app.control])
    before = state(app)
    pipeline.install(app, "memory://shop")
    with start_worker(app, perform_ping_check=False):
        assert state(app)[2] != before[2]
    pipeline.uninstall()

    app.conf.changes.pop("include")  # Celery's own
    assert state(app) == before


def test_what_was_there_before_stays():
    """``uninstall`` removes a log filter only if this installation added it."""
    logger = logging.getLogger("celery.app.trace")
    with undo.undone():
        undo.add_filter(logger, bool)
        with undo.undone():
            undo.add_filter(logger, bool)
        assert bool in logger.filters
    assert bool not in logger.filters


def test_a_task_that_is_bound_later_is_undone_too(app):
    """A task that Celery gave our serializer after ``install`` loses it; one that chose it keeps it."""
    pipeline.install(app, "memory://shop")
    late, chosen = (
        app.task(Late.run, name=name, shared=False, **given)
        for name, given in {"late": {}, "chosen": {"serializer": "claimcheck"}}.items()
    )
    assert late.serializer == "claimcheck"
    pipeline.uninstall()

    assert (late.serializer, chosen.serializer) == ("json", "claimcheck")


def test_uninstalling_twice_is_harmless(app):
    """``uninstall`` without an installation changes nothing."""
    before = state(app)
    uninstall()

    assert state(app) == before


def test_tasks_that_were_bound_before_are_followed(app, bound):
    """A task whose serializer is the configuration's gets ours, Celery's own too, others keep theirs."""
    pipeline.install(app, "memory://shop")

    names = ("nobody", "registered", "celery.chord_unlock", "annotated", "decorator", "class", "other")
    assert [bound[name].serializer for name in names] == ["claimcheck"] * 3 + ["json"] * 3 + ["yaml"]


def test_a_task_that_was_called_before_is_followed(app):
    """What Celery remembers of a call that came before the claim check is forgotten."""
    app.conf.task_always_eager = True
    task = app.register_task(type("Called", (Late,), {"name": "called"})())
    task.delay(1)
    pipeline.install(app, "memory://shop")

    assert task._get_exec_options()["serializer"] == "claimcheck"


def test_bound_tasks_go_on_writing_what_they_wrote(app, bound):
    """With ``publish=False`` tasks keep their serializer, whenever they were bound."""
    pipeline.install(app, "memory://shop", publish=False)

    assert bound["nobody"].serializer == "json"


def test_tasks_that_are_not_bound_yet_stay_so(app):
    """Installing binds nothing: the app may be configured further."""
    task = app.task(Late.run, name="later", shared=False)
    pipeline.install(app, "memory://shop")

    assert not app.finalized
    assert not task.__evaluated__()


def test_an_app_may_read_before_it_writes(app):
    """With ``publish=False`` an app reads claims and goes on writing what it wrote."""
    pipeline.install(app, "memory://shop", publish=False)

    assert app.conf.task_serializer == "json"
    assert "claimcheck" in app.conf.accept_content


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
