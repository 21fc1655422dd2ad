"""What an installation changes in this process, so that ``uninstall`` can restore it.

Celery's and Kombu's seams are attributes, settings and signals of the process and the app. Each change is
made through a function of this module, which keeps how to take it back. Installations nest: ``memory_app``
changes more of an app than ``install`` does.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_ABSENT = object()

_installations: list[ExitStack] = []
"""What each installation of this process has changed, the innermost last."""


def begin() -> None:
    """Begin an installation: what changes from now on is its own."""
    _installations.append(ExitStack())


def end() -> None:
    """Take back what the last installation has changed, newest first. Does nothing if there is none."""
    if _installations:
        _installations.pop().close()


@contextmanager
def undone() -> Iterator[None]:
    """Take back what is changed in a ``with`` block, installations that are begun there included."""
    depth = len(_installations)
    begin()
    try:
        yield
    finally:
        while len(_installations) > depth:
            end()


def later(call: Callable[..., Any], *args: Any) -> None:
    """Call ``call`` when the installation ends; drop it if there is none."""
    if _installations:
        _installations[-1].callback(call, *args)


def put(owner: Any, name: str, value: Any) -> None:
    """Set an attribute."""
    later(_put_back, owner, name, vars(owner).get(name, _ABSENT))
    setattr(owner, name, value)


def drop(owner: Any, name: str) -> None:
    """Remove what Celery has cached in an attribute."""
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
