"""What goes with an app into pool children that are spawned."""

import importlib
import pickle
from types import SimpleNamespace

import pytest
from celery import Celery, signals
from celery.app.amqp import AMQP
from celery.app.control import Control
from celery.concurrency.prefork import TaskPool
from celery.concurrency.solo import TaskPool as SoloPool

import pipeline
from pipeline.backend import BackendMixin
from pipeline.deferred.child_pipe import Reuses
from pipeline.publisher.amqp import PublisherMixin
from pipeline.publisher.control import ControlMixin
from pipeline.worker import spawned

INSTALLING = """
from celery import Celery
import pipeline

def make():
    app = Celery(broker="memory://", set_as_current=False)
    pipeline.install(app, "memory://installing")
    return app

app = make()
"""


class OwnAMQP(AMQP):
    """An application's own."""


class OwnControl(Control):
    """An application's own."""


@pytest.fixture
def app(tmp_path):
    app = Celery("spawned", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.amqp_cls, app.control_cls = OwnAMQP, OwnControl
    pipeline.install(app, f"file://{tmp_path}")
    yield app
    pipeline.uninstall()
    app.close()


@pytest.fixture
def notes(monkeypatch):
    """Notes of this test alone, without the signal that a child would connect."""
    opened = Reuses()
    monkeypatch.setattr(spawned, "reuses", opened)
    monkeypatch.setattr(signals.worker_process_init, "receivers", [])
    yield opened
    opened.close()


def worker_of(app, pool=TaskPool):
    return SimpleNamespace(app=app, pool_cls=pool, pool_start_method="spawn")


def test_an_installed_app_can_be_pickled(app):
    """The copy of an app has its own classes with ours in front."""
    copy = pickle.loads(pickle.dumps(app))

    assert isinstance(copy.amqp, OwnAMQP)
    assert isinstance(copy.amqp, PublisherMixin)
    assert isinstance(copy.control, OwnControl)
    assert isinstance(copy.control, ControlMixin)


def test_installing_again_extends_once(app, tmp_path):
    """An app that is installed twice has our classes in front once."""
    pipeline.uninstall()
    pipeline.install(app, f"file://{tmp_path}")

    assert type(app.amqp).__mro__.count(PublisherMixin) == 1
    assert type(app.amqp).__bases__ == (PublisherMixin, OwnAMQP)


def test_a_child_has_the_result_backend_of_its_worker(app, notes):
    """A setting that was changed after the installation counts in spawned children, too."""
    app.conf.result_backend = "disabled://"
    app.conf.result_backend = "file:///tmp"
    spawned.open_notes(worker_of(app))
    copy = pickle.loads(pickle.dumps(app))

    assert copy.conf.result_backend == "file:///tmp"
    assert isinstance(copy.backend, BackendMixin)
    assert copy.backend.url == "file:///tmp"


def test_two_workers_of_a_process_have_one_pipe(app, notes):
    """A second worker in a process loses no notes of the first, and its children join the same pipe."""
    notes.open()
    notes.note(b"0" * 16)
    spawned.open_notes(worker_of(app))
    spawned.open_notes(worker_of(app))

    assert notes.holds(b"0" * 16)
    assert len([it for it in app.fixups if not isinstance(it, str)]) == 1
    assert notes.note(b"1" * 16)
    assert notes.holds(b"1" * 16)


def test_children_import_the_module_that_installs(notes, tmp_path, monkeypatch):
    """The module whose import installs is among those that children import, though it has no task."""
    (tmp_path / "installing.py").write_text(INSTALLING)
    monkeypatch.syspath_prepend(tmp_path)
    app = importlib.import_module("installing").app
    try:
        spawned.open_notes(worker_of(app))
        assert "installing" in app.conf.include
    finally:
        pipeline.uninstall()
        app.close()


def test_an_installation_that_no_import_makes_is_reported(app, notes, monkeypatch, caplog):
    """A worker that spawns its pool warns at its start if importing modules does not install."""
    monkeypatch.setattr(spawned, "_module", None)
    spawned.open_notes(worker_of(app, SoloPool))
    assert not caplog.records

    spawned.open_notes(worker_of(app))
    assert "call it at the top level of the module that makes the app" in caplog.text


def test_a_child_without_installation_says_so(app, caplog):
    """A spawned child that cannot read payloads says why."""
    pipeline.uninstall()
    spawned._follow(app, "worker")

    assert "not installed in this pool child" in caplog.text
