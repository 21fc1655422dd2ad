"""The arguments of ``install``: given, or else from the app's settings; checked, and the store opened."""

from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, cast

from celery import Celery

from pipeline import app_settings
from pipeline.errors import FramesDropped
from pipeline.metrics import MetricSink, NullSink
from pipeline.metrics.sinks.cloudwatch import CloudWatchSink
from pipeline.options import ALIAS, Options, OptionValues, did_you_mean
from pipeline.stores import check_prefix, store_from_url
from pipeline.stores.protocol import Store
from pipeline.stores.ranges import ranges_of
from pipeline.time_chain import result_seconds

_STORE = (
    "a URL such as s3://bucket/prefix or file:///directory, or an object with the verbs of "
    "pipeline.stores.Store"
)


def choose(app: Any, named: Mapping[str, Any], options: OptionValues) -> tuple[Options, dict[str, Any]]:
    """Return the options and the named arguments: the given ones, else those of the app's settings.

    Clears ``options``: error trackers show the variables of a frame, so also a key.

    Raises:
        ValueError: one is unknown or wrong.
    """
    known = [*Options.__dataclass_fields__, *named]
    try:
        with FramesDropped(ValueError):
            _check_kind("app", app, Celery, "the Celery app")
            _check_names(options, known)
            given = {name: value for name, value in named.items() if value is not None}
            chosen = {**app_settings.arguments(app, known), **given, **options}
            arguments = {name: chosen.pop(name, None) for name in named}
            made = Options(**chosen)
            _check_kinds(**arguments)
            return made, arguments
    finally:
        cast("dict[str, Any]", options).clear()


def open_store(app: Any, store: Any, of_s3: Mapping[str, str | None], options: Options) -> Store:
    """Return the store that an argument names or is. Does no I/O.

    DynamoDB expires each object by itself, and payloads and results may have different lifetimes.

    Raises:
        ValueError: it is none, or cannot be used with the other arguments.
    """
    ttl_seconds = options.payload_ttl_seconds
    opened = _opened(app, store, of_s3, max(ttl_seconds, result_seconds(app.conf, ttl_seconds)))
    check_prefix(opened.prefix)
    return opened


def open_further(stores: Mapping[str, str | Store] | None, alias: str) -> dict[str, Store]:
    """Return the stores that handles may name beside the app's own. Does no I/O.

    Raises:
        ValueError: an alias is none, or is the app's own, or a store is none, or has no parts and ranges.
    """
    for name in stores or {}:
        if not isinstance(name, str) or not ALIAS.match(name) or name == alias:
            raise ValueError(
                f"stores: {name!r} is not an alias: expected a lower-case name other than {alias!r}"
            )
    return {name: _further(f"stores[{name!r}]", store) for name, store in (stores or {}).items()}


def _further(name: str, store: str | Store) -> Store:
    opened = _store(name, store)
    try:
        ranges_of(opened)
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from None
    return opened


def _store(name: str, store: Any, ttl_seconds: int | None = None, **of_s3: str | None) -> Store:
    if isinstance(store, str):
        return store_from_url(store, ttl_seconds, **of_s3)
    _check_kind(name, store, Store, _STORE)
    return cast("Store", store)


def _opened(app: Any, store: Any, of_s3: Mapping[str, str | None], ttl_seconds: int) -> Store:
    if store is None:
        setting = app_settings.setting(app, "store")
        raise ValueError(f"no store: give pipeline.install {_STORE}, or set {setting} in the configuration")
    opened = _store("store", store, ttl_seconds, **of_s3)
    unused = [] if isinstance(store, str) else [name for name, value in of_s3.items() if value is not None]
    if unused:
        raise ValueError(
            f"{unused[0]} has no effect on a store object: give it to pipeline.stores.s3.store.S3Store"
        )
    return opened


def default_sink(store: str | Store) -> MetricSink:
    """Return where metrics go if ``install`` is given no sink."""
    is_in_aws = isinstance(store, str) and store.startswith(("s3:", "dynamodb:"))
    return CloudWatchSink() if is_in_aws else NullSink()


def _check_names(given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            expected = ", ".join(known)
            raise ValueError(f"unknown option {name}{did_you_mean(name, known)}: expected one of {expected}")


def _check_kinds(*, stores: object, doors: object, metrics: object, kms_key_id: object, **_: object) -> None:
    _check_kind("stores", stores, (Mapping, NoneType), "a dict of aliases and stores")
    _check_kind("doors", doors, (Mapping, NoneType), "a dict of queues and functions of their messages")
    _check_kind("metrics", metrics, (MetricSink, NoneType), "a sink such as CloudWatchSink(), or None")
    _check_kind("kms_key_id", kms_key_id, (str, NoneType), "the id or ARN of a key, or None")


def _check_kind(name: str, value: object, kind: Any, expected: str) -> None:
    """Check the type of an argument; reject a class, which has the same methods as its objects."""
    if isinstance(value, type):
        raise ValueError(f"{name} is the class {value.__name__}: expected {expected}")  # noqa: TRY004
    if not isinstance(value, kind):
        found = type(value).__name__
        raise ValueError(f"{name} is of type {found}: expected {expected}")  # noqa: TRY004 - as everywhere
