"""One call puts the claim check into an app, or says what is wrong."""

import logging

import pytest
from app_state import cached, state
from celery import Celery, Task

import pipeline
from pipeline import undo
from pipeline.installation import uninstall
from pipeline.metrics import NullSink
from pipeline.metrics import table as metrics
from pipeline.serializer import serializer
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
def test_arguments_must_be_a_list_or_tuple(args):
    """``apply_async`` takes a list or a tuple, as Celery does, and no other iterable."""
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
