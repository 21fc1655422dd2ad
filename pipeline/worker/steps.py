"""Wires a worker when it starts, before its pool forks. Celery's bootsteps are the seam."""

from collections.abc import Callable, Iterable
from functools import partial
from threading import Thread
from typing import Any

from celery import bootsteps, signals
from celery.utils.imports import symbol_by_name
from celery.worker.components import Pool

from pipeline import time_chain, undo
from pipeline.aws.logs import keep_secrets_out
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.errors import ClaimError, StoreError, StoreUnavailableError
from pipeline.options import Options
from pipeline.serializer import serializer
from pipeline.stores.memory import MemoryStore
from pipeline.stores.protocol import PreparedStore, Store
from pipeline.telemetry import log_lines
from pipeline.worker.celery_fixes.copied_serializer import has_copied_serializer
from pipeline.worker.celery_fixes.false_log_lines import drop_false_log_lines
from pipeline.worker.celery_fixes.forked_backend import follow_forks
from pipeline.worker.celery_fixes.hidden_results import hide_results
from pipeline.worker.celery_fixes.max_retries import hide_arguments
from pipeline.worker.celery_fixes.slots import guard_slots
from pipeline.worker.consumer import ConsumerMixin
from pipeline.worker.health import follow, health_of
from pipeline.worker.read_ahead import ReadAhead
from pipeline.worker.read_ahead import follow as follow_waiting
from pipeline.worker.releaser import Releaser
from pipeline.worker.request import RequestMixin
from pipeline.worker.signals import observe
from pipeline.worker.spawned import open_notes

logger = log_lines.logger(__name__)

HEARTBEAT_SECONDS = 10.0
"""Interval of a worker's heartbeat event; each one is an SQS call. Celery's two seconds are 15 million a
year. ``--heartbeat-interval`` sets another. Monitors wait twice as long."""


class ClaimCheckStep(bootsteps.Step):
    """Checks the configuration, and wires the worker's requests, releaser, metrics and fixes of Celery.

    Raises:
        SystemExit: a setting could lose messages; the message names the setting and the fix.
    """

    requires = (Pool,)
    """Its ``create`` names what a message is handed to; children are forked later, when it starts."""

    _releaser: Releaser
    _read_ahead: ReadAhead

    def create(self, worker: Any) -> None:
        """Run in the worker's main process, once, before the pool has children."""
        try:
            claimcheck = _checked_claimcheck(worker)
            health = health_of(worker, claimcheck.recorder)
            self._read_ahead = _reading_ahead(worker, claimcheck)
        except (ValueError, StoreError, ClaimError) as exc:
            raise SystemExit(f"claimcheck: {exc}") from exc
        open_notes(worker)
        self._releaser = worker.releaser = Releaser(claimcheck)
        _follow_requests(worker.app, self._releaser)
        _extend_consumer(worker, claimcheck)
        _prepare_children(claimcheck.store)
        _fix_celery(worker)
        _slow_heartbeat_down(worker)
        keep_secrets_out()
        self._release_until_the_end_of(worker)
        follow(health)
        observe(claimcheck.recorder)  # after the releaser, so that its last numbers are flushed too

    def _release_until_the_end_of(self, worker: Any) -> None:
        """Start this worker's releaser, and end it with the worker: a process may have several."""
        self._releaser.start()
        signals.worker_shutdown.connect(self._close, sender=worker)  # weak: it is forgotten with the worker
        # A cold shutdown sends no signal, and all workers of celery.contrib.testing end so.
        worker.blueprint.on_stopped = partial(self._stopped, worker.blueprint.on_stopped)

    def _close(self, **_: Any) -> None:
        self._releaser.close()
        self._read_ahead.close()

    def _stopped(self, on_stopped: Callable[[], None]) -> None:
        on_stopped()
        self._releaser.leave()
        self._read_ahead.close()


def _reading_ahead(worker: Any, claimcheck: ClaimCheck) -> ReadAhead:
    """Return what reads ahead, which does so with the pool prefork and its event loop alone.

    Raises:
        ValueError: there is no place for what it reads.
    """
    read_ahead = ReadAhead(claimcheck)
    if not claimcheck.options.read_ahead_bytes:
        return read_ahead
    if worker.pool_cls.uses_semaphore and worker.use_eventloop:
        read_ahead.start()
        follow_waiting(worker, read_ahead)
    else:
        logger.warning("claimcheck: nothing is read ahead: read_ahead_bytes is for the pool prefork")
    return read_ahead


def _checked_claimcheck(worker: Any) -> ClaimCheck:
    """Return the claim check of this process, with which no message of the app can be lost."""
    app, claimcheck = worker.app, serializer.installed()
    _check_configuration(app, claimcheck.options)
    time_chain.check_tasks(app)
    if worker.options.get("check_store", True):
        _check_store(claimcheck)
    _warn_of_memory(claimcheck.store, time_chain.scheme_of(app))
    return claimcheck


def _extend_consumer(worker: Any, claimcheck: ClaimCheck) -> None:
    consumer = symbol_by_name(worker.consumer_cls)
    extended = type("Consumer", (ConsumerMixin, consumer), {"recorder": claimcheck.recorder})
    worker.consumer_cls = extended


def _prepare_children(store: Store) -> None:
    """Let each child of a pool make its clients when it starts, and not when its first task waits for them.

    In a thread: Celery kills a child that is silent for four seconds, and credentials may take as long.
    Not before the fork: the clients' providers of credentials may hold open connections.
    Source: celery 5.7.0, ``worker_proc_alive_timeout``.
    """
    if isinstance(store, PreparedStore):
        undo.connect(signals.worker_process_init, partial(_prepare, store), "claimcheck.prepare")


def _prepare(store: PreparedStore, **_: Any) -> None:
    Thread(target=store.prepare, name="claimcheck-prepare", daemon=True).start()


def _fix_celery(worker: Any) -> None:
    hide_results(worker.app.tasks.values())
    hide_arguments(worker.app.tasks.values())
    drop_false_log_lines()
    guard_slots(worker)
    follow_forks(worker.app)


def _slow_heartbeat_down(worker: Any) -> None:
    if time_chain.scheme_of(worker.app) == "sqs" and not worker.options.get("heartbeat_interval"):
        worker.options["heartbeat_interval"] = HEARTBEAT_SECONDS


def _check_configuration(app: Any, options: Options) -> None:
    writes, reads = app.conf.task_serializer, app.conf.accept_content
    if serializer.NAME not in reads or (options.publish and writes != serializer.NAME):
        raise ValueError(
            f"task_serializer is {writes!r} and accept_content {reads!r}, without {serializer.NAME!r}: "
            "call pipeline.install(app, …) after the app has read its configuration"
        )
    if options.signing_key and not options.accept_unsigned:
        _check_signed(app)
    elif options.publish:
        _warn_of_others(app.tasks.values())


def _check_signed(app: Any) -> None:
    """Check that nothing unsigned is accepted, and that no task is published unsigned.

    Raises:
        ValueError: something is; names it.
    """
    if set(app.conf.accept_content) != {serializer.NAME}:
        raise ValueError(
            f"accept_content is {app.conf.accept_content!r}, and with a signing_key nothing unsigned may be "
            "accepted: leave it as pipeline.install sets it, or install with accept_unsigned=True"
        )
    unsigned = sorted(it.name for it in app.tasks.values() if it.serializer != serializer.NAME)
    if unsigned:
        raise ValueError(
            f"unsigned, and with a signing_key accepted by no worker: {', '.join(unsigned)}; remove their "
            f"serializer= or set it to {serializer.NAME!r}, or install with accept_unsigned=True"
        )


def _warn_of_others(tasks: Iterable[Any]) -> None:
    """Warn of tasks that offload nothing although no other serializer was chosen for them."""
    others = [it.name for it in tasks if it.serializer != serializer.NAME and has_copied_serializer(it)]
    if others:
        logger.warning(
            "claimcheck: nothing is offloaded for %s: a class of theirs was bound before pipeline.install; "
            "call it earlier, or give them serializer=%r",
            ", ".join(sorted(others)),
            serializer.NAME,
        )


def _warn_of_memory(store: Store, transport: str) -> None:
    """Warn that payloads stay in one process although messages leave it."""
    if isinstance(store, MemoryStore) and transport != "memory":
        logger.warning(
            "claimcheck: a payload in a memory:// store is for its own process alone, and messages leave it "
            "through %s: a task whose payload another process has put there fails; use s3:// or file://",
            transport,
        )


def _check_store(claimcheck: ClaimCheck) -> None:
    """Put, get and delete a small object: each permission that a worker and its tasks need.

    Raises:
        StoreDeniedError: one of them is missing, or the bucket is.
    """
    try:
        claimcheck.probe()
    except StoreUnavailableError as exc:
        # The store may be back before the first task: a worker that starts during an outage must not exit.
        logger.warning("claimcheck: starting although the store is unavailable: %s", exc)


def _follow_requests(app: Any, releaser: Releaser) -> None:
    for task in app.tasks.values():
        base = symbol_by_name(task.Request)
        if issubclass(base, RequestMixin):  # an earlier worker of this process has made it
            base = base.__bases__[1]
        undo.put(task, "Request", type("Request", (RequestMixin, base), {"releaser": releaser}))
