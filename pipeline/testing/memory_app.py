"""A Celery app whose broker, result backend and payloads are in memory until a test ends.

The pytest plugin gives it to tests as ``claimcheck_app``. All of it is in the test's own process: a worker is
a thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from functools import partial
from os import environ
from typing import Any

from celery import _state, signals
from celery.backends.cache import _DUMMY_CLIENT_CACHE as RESULTS
from celery.contrib.testing.worker import start_worker
from kombu import pools
from kombu.transport import memory
from kombu.transport.virtual import BrokerState

from pipeline import undo
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.headers import NAME
from pipeline.installation import install, suspended
from pipeline.stores import StoredObject
from pipeline.stores.memory import MemoryStore
from pipeline.transport.send.collecting import producers

SETTINGS = {
    "broker_url": "memory://localhost",
    "broker_read_url": None,
    "broker_write_url": None,
    "broker_transport_options": {"polling_interval": 0.02},
    "result_backend": "cache+memory://",
    "task_always_eager": False,
    "claimcheck_metrics": None,
    "claimcheck_server_side_encryption": None,
    "claimcheck_kms_key_id": None,
    "claimcheck_payload_client": None,
}
"""What an app is set to during a test."""

OVERRIDING = (
    "CELERY_BROKER_URL",
    "CELERY_BROKER_READ_URL",
    "CELERY_BROKER_WRITE_URL",
    "CELERY_RESULT_BACKEND",
)
"""Variables that Celery prefers to an app's settings. Source: celery 5.7.0, ``app/utils.py``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentTask:
    """A task that was published."""

    name: str
    id: str
    args: Sequence[Any] = field(repr=False)
    """Positional arguments as they were sent: the very objects."""
    kwargs: Mapping[str, Any] = field(repr=False)
    """Keyword arguments, likewise."""
    key: str | None
    """Key of its payload in the store; None if it was not offloaded."""
    payload_bytes: int | None
    """Size of its encoded arguments, before compression; None if it was sent without the claim check."""
    wire_bytes: int | None
    """Size of its message for the broker; None as above."""

    @property
    def is_offloaded(self) -> bool:
        """Whether its arguments went through the store."""
        return self.key is not None


@dataclass(frozen=True, slots=True)
class ClaimCheckApp:
    """What the fixture ``claimcheck_app`` gives to a test."""

    app: Any
    """The Celery app."""
    claimcheck: ClaimCheck
    """What ``pipeline.install`` has returned."""
    sent: list[SentTask]
    """The tasks that this process has published during the test, in order; retries and callbacks as well."""

    @property
    def payloads(self) -> list[StoredObject]:
        """The payloads that are in the store now, in the order of their keys."""
        return list(self.claimcheck.store.list())

    @contextmanager
    def worker(self, **options: Any) -> Iterator[Any]:
        """Run a worker of the app on a thread during a ``with`` block.

        When the block ends, the tasks under way have ended, and their payloads are released.

        Args:
            **options: those of ``celery.contrib.testing.worker.start_worker``, such as ``queues``, a list.
                ``pool`` is ``solo`` or ``threads``: a child process would not see this process's memory.
        """
        with start_worker(self.app, **{"perform_ping_check": False, **options}) as worker:
            yield worker
        signals.worker_shutdown.send(sender=worker)  # Celery's test worker stops without it


@contextmanager
def in_memory(app: Any, **options: Any) -> Iterator[ClaimCheckApp]:
    """Keep an app's messages, results and payloads in memory during a ``with`` block, and restore it then.

    An app that is installed already has the options of that installation here, too.

    Args:
        app: the Celery app.
        **options: those of ``pipeline.install``, ``store`` among them; they come first.

    Raises:
        ValueError: as ``pipeline.install``.
    """
    with suspended() as before:
        sent: list[SentTask] = []
        undo.connect(signals.after_task_publish, partial(_note, sent))
        undo.connect(signals.setup_logging, _leave_logging)
        _configure(app)
        inherited = asdict(before.options) if before else {}
        claimcheck = install(app, **{"store": MemoryStore("claims"), **inherited, **options})
        try:
            yield ClaimCheckApp(app, claimcheck, sent)
        finally:
            claimcheck.recorder.close()


def _note(sent: list[SentTask], sender: str, headers: Any, body: Any, **_: Any) -> None:
    args, kwargs, _embed = body
    described = headers.get(NAME) or {}
    sizes = {name: described.get(name) for name in ("key", "payload_bytes", "wire_bytes")}
    sent.append(SentTask(name=sender, id=headers["id"], args=args, kwargs=kwargs, **sizes))


def _configure(app: Any) -> None:
    for name in OVERRIDING:
        if name in environ:
            undo.later(environ.__setitem__, name, environ.pop(name))
    app.conf.get("broker_url")  # an app reads its configuration when somebody looks at it
    undo.later(_restore, app.conf.changes, dict(app.conf.changes))
    undo.later(_restore, RESULTS, dict(RESULTS))
    undo.put(_state._tls, "current_app", app)  # noqa: SLF001 - shared tasks look here,
    undo.put(_state, "default_app", app)  # and here on other threads
    app.conf.update(deepcopy(SETTINGS), broker_transport=_transport())
    undo.drop(app, "amqp")  # Celery makes it for any connection, that of install's checks too
    for group in (pools.connections, pools.producers, producers):
        undo.later(_close_pools, group, set(group))


def _transport() -> type:
    """Return Kombu's transport in memory, with queues of its own: Kombu's has those of the whole process."""
    channel = type("Channel", (memory.Channel,), {"queues": {}, "events": {}})
    return type("Transport", (memory.Transport,), {"Channel": channel, "global_state": BrokerState()})


def _close_pools(group: Any, before: set[Any]) -> None:
    for key in group.keys() - before:
        group.pop(key).force_close_all()


def _restore(mapping: Any, before: Mapping[Any, Any]) -> None:
    mapping.clear()
    mapping.update(before)


def _leave_logging(**_: Any) -> None:
    """Let Celery leave the loggers to pytest: it sets up none where somebody listens to this signal."""
