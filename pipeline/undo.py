"""Records what ``install`` changes in this process, so that ``uninstall`` can restore it.

``install`` changes attributes, settings and signals of the process and the app. It makes each change through
a function of this module, which stores the old value. Installations nest: ``memory_app`` changes more of an
app than ``install`` does.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_ABSENT = object()

_installations: list[ExitStack] = []
"""Changes of each installation of this process, the innermost last."""


def begin() -> None:
    """Begin an installation: later changes belong to it."""
    _installations.append(ExitStack())


def end() -> None:
    """Undo the changes of the last installation, newest first. Does nothing if there is none."""
    if _installations:
        _installations.pop().close()


@contextmanager
def undone() -> Iterator[None]:
    """Undo all changes of a ``with`` block, including installations that begin there."""
    depth = len(_installations)
    begin()
    try:
        yield
    finally:
        while len(_installations) > depth:
            end()


def later(call: Callable[..., Any], *args: Any) -> None:
    """Call ``call`` when the installation ends; ignore it if there is none."""
    if _installations:
        _installations[-1].callback(call, *args)


def put(owner: Any, name: str, value: Any) -> None:
    """Set an attribute."""
    later(_put_back, owner, name, vars(owner).get(name, _ABSENT))
    setattr(owner, name, value)


def drop(owner: Any, name: str) -> None:
    """Delete an attribute in which Celery caches a value."""
    later(_put_back, owner, name, vars(owner).get(name, _ABSENT))
    _put_back(owner, name, _ABSENT)


def configure(app: Any, name: str, value: Any) -> None:
    """Change a setting of an app."""
    later(_configure_back, app, name, app.conf.changes.get(name, _ABSENT))
    app.conf[name] = value


def connect(signal: Any, receiver: Callable[..., Any], uid: str | None = None) -> None:
    """Connect a receiver to a signal of Celery, in place of the one that has the same id."""
    was_connected = signal.disconnect(receiver, dispatch_uid=uid)
    signal.connect(receiver, weak=False, dispatch_uid=uid)
    if not was_connected:
        later(_disconnect, signal, receiver, uid)


def add_filter(logger: logging.Logger, log_filter: Callable[[logging.LogRecord], bool]) -> None:
    """Add a filter to a logger, unless it has it already."""
    if log_filter not in logger.filters:
        logger.addFilter(log_filter)
        later(logger.removeFilter, log_filter)


def _put_back(owner: Any, name: str, value: Any) -> None:
    if value is not _ABSENT:
        setattr(owner, name, value)
    elif name in vars(owner):
        delattr(owner, name)


def _configure_back(app: Any, name: str, value: Any) -> None:
    if value is _ABSENT:
        app.conf.changes.pop(name, None)
    else:
        app.conf.changes[name] = value


def _disconnect(signal: Any, receiver: Callable[..., Any], uid: str | None) -> None:
    signal.disconnect(receiver, dispatch_uid=uid)
