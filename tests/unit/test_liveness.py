"""A file says that a worker's event loop runs, and nothing once the worker has ended."""

from types import SimpleNamespace

import pytest
from kombu.asynchronous.timer import Timer

from pipeline.worker import liveness
from pipeline.worker.liveness import VARIABLE, Liveness


@pytest.fixture
def alive(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "alive"))
    return tmp_path / "alive"


def test_a_timer_that_goes_on_does_not_bring_the_file_back(alive, monkeypatch):
    """The file is touched from start to stop; a timer that ends later has nothing left to do."""
    monkeypatch.setattr(liveness, "INTERVAL_SECONDS", 0)
    worker = SimpleNamespace(timer=Timer())
    step = Liveness(worker)
    step.start(worker)
    due = iter(worker.timer)
    assert alive.exists()
    next(due)[1]()

    step.stop(worker)

    assert not alive.exists()
    assert next(due) == (None, None)


def test_without_a_file_there_is_no_step(monkeypatch):
    """The step is off unless the variable names a file."""
    monkeypatch.delenv(VARIABLE, raising=False)

    assert not Liveness(None).include_if(None)
