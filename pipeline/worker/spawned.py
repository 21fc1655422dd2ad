"""Equips spawned pool children (``worker_pool_start_method="spawn"``) with what forked ones inherit.

A forked child inherits what the main process has set up. A spawned one is a fresh interpreter: it unpickles
the app, imports the modules in ``include``, and has nothing else. So the main process puts two things into
the app that is pickled: the name of the module whose import calls ``pipeline.install``, and a fixup, which
Celery calls where it unpickles the app.
Source: celery 5.7.0, ``app/base.py`` (``__reduce_keys__``), ``concurrency/prefork.py``.
"""

import inspect
import sys
from functools import partial
from pathlib import Path
from typing import Any

from billiard import get_start_method
from celery import signals
from celery.app.trace import build_tracer

from pipeline import undo
from pipeline.claimcheck.spool import spool
from pipeline.deferred.child_pipe import reuses
from pipeline.serializer import serializer
from pipeline.telemetry import log_lines
from pipeline.worker.celery_fixes.hidden_results import hide_results
from pipeline.worker.celery_fixes.max_retries import hide_arguments
from pipeline.worker.signals import observe

logger = log_lines.logger(__name__)

_module: str | None = None


def note_module() -> None:
    """Note the module whose import calls ``pipeline.install``, and with it this; none if there is none."""
    global _module  # noqa: PLW0603 - the claim check is installed once in a process
    frame = inspect.currentframe()
    while frame and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    name = frame.f_globals["__name__"] if frame else None
    # A program's own module and what an interpreter was handed cannot be imported by this name.
    _module = name if getattr(sys.modules.get(name or ""), "__spec__", None) and name != "__main__" else None


def open_notes(worker: Any) -> None:
    """Let the pool's children write notes to this main process, and equip those that will be spawned."""
    if not _spawns(worker):
        reuses.open()
        return
    _put_installation_into(worker.app)
    about = reuses.open_named(), spool.directory, worker.app.conf.result_backend
    _put_fixup_into(worker.app, partial(_set_up_child, *about))


def _spawns(worker: Any) -> bool:
    """Say whether a worker's pool spawns children: prefork alone has any, and none that work on Windows."""
    if not worker.pool_cls.uses_semaphore or sys.platform == "win32":
        return False
    return "spawn" in (worker.pool_start_method, get_start_method())


def _put_installation_into(app: Any) -> None:
    if _module is None:
        logger.warning(
            "claimcheck: pool children are spawned, and cannot read payloads unless a module of theirs calls "
            "pipeline.install: call it at the top level of the module that makes the app"
        )
    else:
        undo.configure(app, "include", [*app.conf.include, _module])


def _put_fixup_into(app: Any, fixup: Any) -> None:
    # An earlier worker of this process may have put another one there.
    others = (it for it in app.fixups if getattr(it, "func", None) is not _set_up_child)
    undo.put(app, "fixups", {*others, fixup})


def _set_up_child(path: str, directory: Path | None, result_backend: Any, app: Any) -> None:
    """Run in a spawned child, as its app is unpickled."""
    # Celery unpickles an app's backend_cls as its setting result_backend.
    preconf = app._preconf  # noqa: SLF001
    app.backend_cls, preconf["result_backend"] = preconf.get("result_backend"), result_backend
    reuses.join(path)
    spool.join(directory)
    signals.worker_process_init.connect(partial(_follow, app), weak=False)


def _follow(app: Any, sender: str, **_: Any) -> None:
    """Do in a spawned child, after it has imported the tasks, what a forked one inherits."""
    claimcheck = serializer.found()
    if claimcheck is None:
        logger.critical(
            "claimcheck: not installed in this pool child, so it can read no payload: call pipeline.install "
            "at the top level of the module that makes the app"
        )
        return
    hide_results(app.tasks.values())
    hide_arguments(app.tasks.values())
    observe(claimcheck.recorder)
    for name, task in app.tasks.items():  # Celery has made the tracers, and they keep what they saw of a task
        task.__trace__ = build_tracer(name, task, app.loader, sender, app=app)
