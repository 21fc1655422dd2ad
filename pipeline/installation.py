"""``install`` and ``uninstall``: put the claim check into a Celery app, and remove it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from types import NoneType
from typing import Any, Unpack, cast

from celery import Celery
from celery.signals import after_setup_logger
from celery.utils.imports import symbol_by_name
from kombu.connection import resolve_aliases
from kombu.utils import json

from pipeline import app_settings, backend, time_chain, undo
from pipeline.aws.logs import keep_secrets_out
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.codec import Codec
from pipeline.claimcheck.message_size import Wire
from pipeline.errors import FramesDropped
from pipeline.metrics import MetricSink, NullSink, Recorder
from pipeline.metrics.sinks.cloudwatch import CloudWatchSink
from pipeline.options import Options, OptionValues, did_you_mean
from pipeline.publisher.amqp import PublisherMixin
from pipeline.publisher.control import ControlMixin
from pipeline.serializer import entry_point, serializer
from pipeline.stores import check_prefix, store_from_url
from pipeline.stores.protocol import Store
from pipeline.transport.fanout.exchanges import EVENT_EXCHANGE
from pipeline.transport.transport_options import check_transport_options
from pipeline.worker import spawned
from pipeline.worker.celery_fixes.copied_serializer import follow_serializer
from pipeline.worker.steps import ClaimCheckStep

PLAIN_SERIALIZERS = frozenset({"msgpack", "yaml"})
"""Kombu serializers that support only plain types and have no hook for others."""

_STORE = (
    "a URL such as s3://bucket/prefix or file:///directory, or an object with the verbs of "
    "pipeline.stores.Store"
)

_app: Any = None
"""The app that the claim check was last installed for."""


def install(
    app: Any,
    store: str | Store | None = None,
    *,
    metrics: MetricSink | None = None,
    server_side_encryption: str | None = None,
    kms_key_id: str | None = None,
    **options: Unpack[OptionValues],
) -> ClaimCheck:
    """Make a Celery app store large task arguments, and send claims instead.

    Call it once per process, in producers and workers alike, after ``app.config_from_object`` if there is
    one: it reads the app's configuration, to choose the transport and to raise configuration errors. It sets
    the app's task serializer, accepts it, adds a worker step, and for ``sqs://`` brokers sets this library's
    transport. It makes no request; a worker checks the store when it starts.

    Other arguments are read from the app's settings, with the prefix ``claimcheck_``:
    ``app.conf.claimcheck_store``, or ``CELERY_CLAIMCHECK_STORE`` with the namespace ``CELERY``.

    Args:
        app: the Celery app.
        store: ``s3://bucket/prefix``, ``file:///directory``, ``memory://name``, or a ``Store``. Required
            here or in the settings.
        metrics: where metrics go; by default to CloudWatch with an S3 store; otherwise nowhere.
        server_side_encryption: ``AES256`` or ``aws:kms``, for S3; by default the bucket's.
        kms_key_id: key for ``aws:kms``.
        **options: see ``pipeline.options.Options``.

    Returns:
        The claim check, for tools and tests.

    Raises:
        ValueError: an argument or setting is unknown or wrong, or messages could be lost with it.
    """
    named = {
        "store": store,
        "metrics": metrics,
        "server_side_encryption": server_side_encryption,
        "kms_key_id": kms_key_id,
    }
    chosen, arguments = _chosen(app, named, options)
    store, metrics = arguments.pop("store"), arguments.pop("metrics")
    _check_kind("metrics", metrics, (MetricSink, NoneType), "a sink such as CloudWatchSink(), or None")
    _check_kind("kms_key_id", arguments["kms_key_id"], (str, NoneType), "the id or ARN of a key, or None")
    if serializer.is_installed():
        raise ValueError("claimcheck is installed in this process already: call pipeline.install once")
    transport = time_chain.scheme_of(app)
    _check_formats(app)
    if transport == "sqs":
        check_transport_options(app.conf.broker_transport_options)
    time_chain.check_app(app, chosen, transport)
    opened = _opened(app, store, arguments)
    check_prefix(opened.prefix)
    claimcheck = ClaimCheck(
        store=opened,
        codec=Codec(serializer.KOMBU_TYPES, chosen.codec),
        options=chosen,
        wire=_wire(app, transport, chosen),
        recorder=Recorder(_default_sink(store) if metrics is None else metrics),
        longest_wait_seconds=time_chain.longest_wait_seconds(app, chosen, transport),
    )
    _put_into(app, claimcheck)
    spawned.note_module()
    return claimcheck


def uninstall() -> None:
    """Undo the changes of ``install``, and those of workers of this process since then: for tests.

    Restores the app's settings, parts and worker steps, and the serializer of its tasks. Call it when no
    worker runs in this process. Safe to call twice.
    """
    if serializer.is_installed():
        serializer.install(None)
        undo.end()


@contextmanager
def suspended() -> Iterator[ClaimCheck | None]:
    """Uninstall during a ``with`` block, and yield the claim check: for tests.

    Changes of the block are undone at its end.
    """
    app, claimcheck = _app, serializer.found()
    uninstall()
    try:
        with undo.undone():
            yield claimcheck
    finally:
        serializer.install(None)
        if claimcheck is not None:
            _put_into(app, claimcheck)


def _put_into(app: Any, claimcheck: ClaimCheck) -> None:
    global _app  # noqa: PLW0603 - the claim check is installed once in a process
    _app = app
    undo.begin()
    _accept(app, claimcheck.options)
    _configure(app, time_chain.scheme_of(app), publish=claimcheck.options.publish)
    serializer.install(claimcheck)


def _check_kind(name: str, value: object, kind: Any, expected: str) -> None:
    """Check the type of an argument; reject a class, which has the same methods as its objects."""
    if isinstance(value, type):
        raise ValueError(f"{name} is the class {value.__name__}: expected {expected}")  # noqa: TRY004
    if not isinstance(value, kind):
        found = type(value).__name__
        raise ValueError(f"{name} is of type {found}: expected {expected}")  # noqa: TRY004 - as everywhere


def _opened(app: Any, store: Any, encryption: Mapping[str, str | None]) -> Store:
    if store is None:
        setting = app_settings.setting(app, "store")
        raise ValueError(f"no store: give pipeline.install {_STORE}, or set {setting} in the configuration")
    if isinstance(store, str):
        return store_from_url(store, **encryption)
    _check_kind("store", store, Store, _STORE)
    unused = [name for name, value in encryption.items() if value is not None]
    if unused:
        raise ValueError(
            f"{unused[0]} has no effect on a store object: give it to pipeline.stores.s3.store.S3Store"
        )
    return cast("Store", store)


def _chosen(app: Any, named: Mapping[str, Any], options: OptionValues) -> tuple[Options, dict[str, Any]]:
    """Return the options and the named arguments: the given ones, else those of the app's settings.

    Clears ``options``: error trackers show the variables of a frame, so also a key.
    """
    known = [*Options.__dataclass_fields__, *named]
    try:
        with FramesDropped(ValueError):
            _check_kind("app", app, Celery, "the Celery app")
            _check_names(options, known)
            given = {name: value for name, value in named.items() if value is not None}
            chosen = {**app_settings.arguments(app, known), **given, **options}
            arguments = {name: chosen.pop(name, None) for name in named}
            return Options(**chosen), arguments
    finally:
        cast("dict[str, Any]", options).clear()


def _check_names(given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            expected = ", ".join(known)
            raise ValueError(f"unknown option {name}{did_you_mean(name, known)}: expected one of {expected}")


def _check_formats(app: Any) -> None:
    if app.conf.result_extended and app.conf.result_serializer in PLAIN_SERIALIZERS:
        raise ValueError(
            f"result_serializer={app.conf.result_serializer!r} cannot write what result_extended adds: "
            f"use 'json' or {serializer.NAME!r}"
        )


def _wire(app: Any, transport: str, options: Options) -> Wire:
    whole = bool(app.conf.broker_transport_options.get("sqs_base64_encoding"))
    return Wire.of(transport, options.reserve_bytes, whole=whole, dumps=json.dumps)


def _default_sink(store: str | Store) -> MetricSink:
    return CloudWatchSink() if isinstance(store, str) and store.startswith("s3:") else NullSink()


def _accept(app: Any, options: Options) -> None:
    """Accept claimcheck messages beside the app's own; with a key, only them: no others are signed."""
    if options.signing_key and not options.accept_unsigned:
        undo.configure(app, "accept_content", [serializer.NAME])
        undo.configure(app, "result_accept_content", [app.conf.result_serializer])
        return
    for setting in ("accept_content", "result_accept_content"):
        accepted = app.conf[setting]
        if accepted is not None and serializer.NAME not in accepted:
            undo.configure(app, setting, [*accepted, serializer.NAME])


def _configure(app: Any, transport: str, *, publish: bool) -> None:
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


def _add_step(steps: set[type]) -> None:
    if ClaimCheckStep not in steps:  # it is there if the app was installed before
        steps.add(ClaimCheckStep)
        undo.later(steps.discard, ClaimCheckStep)


def _choose_serializer(app: Any, before: str) -> None:
    undo.configure(app, "task_serializer", serializer.NAME)
    undo.later(_let_follow, app, serializer.NAME, before)  # also for tasks that are bound later
    _let_follow(app, before, serializer.NAME)


def _let_follow(app: Any, before: str, now: str) -> None:
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
