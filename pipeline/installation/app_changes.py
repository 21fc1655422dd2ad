"""What ``install`` changes in a Celery app. ``undo`` remembers what was there, for ``uninstall``."""

from functools import cache, partial
from typing import Any

from celery.signals import after_setup_logger
from celery.utils.imports import symbol_by_name
from kombu.connection import resolve_aliases

from pipeline import backend, undo
from pipeline.aws.logs import keep_secrets_out
from pipeline.options import Options
from pipeline.publisher.amqp import PublisherMixin
from pipeline.publisher.control import ControlMixin
from pipeline.serializer import entry_point, serializer
from pipeline.transport.fanout.exchanges import EVENT_EXCHANGE
from pipeline.worker.celery_fixes.copied_serializer import follow_serializer

CLAIM_CHECK_STEP = "pipeline.worker.steps:ClaimCheckStep"
"""Celery imports a step by its name when a worker starts; producers and commands do not need it."""


def accept(app: Any, options: Options) -> None:
    """Accept claimcheck messages beside the app's own; with a key, only them: no others are signed."""
    if options.signing_key and not options.accept_unsigned:
        undo.configure(app, "accept_content", [serializer.NAME])
        undo.configure(app, "result_accept_content", [app.conf.result_serializer])
        return
    for setting in ("accept_content", "result_accept_content"):
        accepted = app.conf[setting]
        if accepted is not None and serializer.NAME not in accepted:
            undo.configure(app, setting, [*accepted, serializer.NAME])


def configure(app: Any, transport: str, *, publish: bool) -> None:
    """Set serializer, transport, parts and worker step of an app; without ``publish``, not the serializer."""
    if publish:
        _choose_serializer(app, app.conf.task_serializer)
    if transport == "sqs":
        entry_point.register()  # works without installed entry points, too
        undo.configure(app, "broker_transport", entry_point.ALIAS)
        resolve_aliases[entry_point.ALIAS] = "sqs"  # what Celery and Flower show of the broker
    _extend(app, "amqp", PublisherMixin)
    backend.extend(app)
    _configure_monitoring(app, transport)
    undo.put(app, "_pool", None)  # it may hold connections of another transport
    _add_step(app.steps["worker"])
    undo.connect(after_setup_logger, keep_secrets_out)  # in beat and in spawned children, too


def _add_step(steps: set[type | str]) -> None:
    if CLAIM_CHECK_STEP not in steps:  # it is there if the app was installed before
        steps.add(CLAIM_CHECK_STEP)
        undo.later(steps.discard, CLAIM_CHECK_STEP)


def _choose_serializer(app: Any, before: str) -> None:
    undo.configure(app, "task_serializer", serializer.NAME)
    undo.later(_switch_bound_tasks, app, serializer.NAME, before)  # also for tasks that are bound later
    _switch_bound_tasks(app, before, serializer.NAME)


def _switch_bound_tasks(app: Any, before: str, now: str) -> None:
    bound = tuple(app._tasks.values())  # noqa: SLF001 - app.tasks would bind the unbound ones
    follow_serializer(bound, before, now)


def _extend(app: Any, name: str, mixin: type) -> None:
    """Put ``mixin`` before the class of a part of the app.

    The app is pickled to spawned pool children, and a function is picklable where a new class is not.
    """
    chosen = getattr(app, f"{name}_cls")
    if getattr(chosen, "func", None) is not extended_part:  # it is there if the app was installed before
        undo.put(app, f"{name}_cls", partial(extended_part, mixin, chosen))
    undo.drop(app, name)  # Celery caches the part of the old class


def extended_part(mixin: type, chosen: Any, **options: Any) -> Any:
    """Make a part of an app from its former class or class name, with ``mixin`` before it."""
    return _extended(mixin, symbol_by_name(chosen))(**options)


@cache
def _extended(mixin: type, base: type) -> type:
    return type(base.__name__, (mixin, base), {})


def _configure_monitoring(app: Any, transport: str) -> None:
    """Send control commands without the claim check, and pass the event exchange to the transport."""
    _extend(app, "control", ControlMixin)
    if transport == "sqs" and app.conf.event_exchange != EVENT_EXCHANGE:
        options = {"event_exchange": app.conf.event_exchange, **app.conf.broker_transport_options}
        undo.configure(app, "broker_transport_options", options)
