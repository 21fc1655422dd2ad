"""``install`` and ``uninstall``: put the claim check into a Celery app, and remove it.

``arguments`` says what it is installed with, ``app_changes`` what it changes in the app.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Unpack

from kombu.utils import json

from pipeline import time_chain, undo
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.codec import Codec
from pipeline.claimcheck.message_size import Wire
from pipeline.installation import app_changes, arguments
from pipeline.metrics import MetricSink
from pipeline.metrics.recorder import Recorder
from pipeline.options import Options, OptionValues
from pipeline.serializer import serializer
from pipeline.stores.protocol import Store
from pipeline.transport.transport_options import check_transport_options
from pipeline.worker import spawned

if TYPE_CHECKING:
    from pipeline.doors.setup import AnyDoor

PLAIN_SERIALIZERS = frozenset({"msgpack", "yaml"})
"""Kombu serializers that support only plain types and have no hook for others."""

_app: Any = None
"""The app that the claim check was last installed for."""

_doors: "Mapping[str, AnyDoor]" = {}
"""Its doors."""


def install(  # noqa: PLR0913 - each is a setting
    app: Any,
    store: str | Store | None = None,
    *,
    stores: Mapping[str, str | Store] | None = None,
    doors: "Mapping[str, AnyDoor] | None" = None,
    metrics: MetricSink | None = None,
    server_side_encryption: str | None = None,
    kms_key_id: str | None = None,
    payload_client: str | None = None,
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
        store: ``s3://bucket/prefix``, ``dynamodb://table/prefix``, ``file:///directory``, ``memory://name``,
            or a ``Store``. Required here or in the settings.
        stores: further stores that handles may name, by alias: ``{"uploads": "s3://bucket/input"}``. Their
            objects are read, and deleted only if a door of theirs says so.
        doors: for queues that others send to, by queue: what makes task calls of their messages, such as
            ``{"uploads": pipeline.doors.s3_notifications("tasks.ingest", store="uploads")}``. For SQS.
        metrics: where metrics go; by default to CloudWatch with a store in AWS; otherwise nowhere.
        server_side_encryption: ``AES256`` or ``aws:kms``, for S3; by default the bucket's.
        kms_key_id: key for ``aws:kms``.
        payload_client: ``boto3`` or ``obstore``, which carries payloads to S3 and back; by default obstore
            where the extra of that name is installed.
        **options: see ``pipeline.options.Options``.

    Returns:
        The claim check, for tools and tests.

    Raises:
        ValueError: an argument or setting is unknown or wrong, or messages could be lost with it.
    """
    named: dict[str, Any] = {
        "store": store,
        "stores": stores,
        "doors": doors,
        "metrics": metrics,
        "server_side_encryption": server_side_encryption,
        "kms_key_id": kms_key_id,
        "payload_client": payload_client,
    }
    chosen, named = arguments.choose(app, named, options)
    if serializer.is_installed():
        raise ValueError("claimcheck is installed in this process already: call pipeline.install once")
    _check_app(app, chosen)
    claimcheck = _claimcheck(app, chosen, **named)
    if named["doors"]:
        _setup().check(named["doors"], claimcheck.stores, time_chain.scheme_of(app))
    _put_into(app, claimcheck, named["doors"] or {})
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
    app, claimcheck, doors = _app, serializer.found(), _doors
    uninstall()
    try:
        with undo.undone():
            yield claimcheck
    finally:
        serializer.install(None)
        if claimcheck is not None:
            _put_into(app, claimcheck, doors)


def _put_into(app: Any, claimcheck: ClaimCheck, doors: "Mapping[str, AnyDoor]") -> None:
    global _app, _doors
    _app, _doors = app, doors
    undo.begin()
    app_changes.accept(app, claimcheck.options)
    app_changes.configure(app, time_chain.scheme_of(app), publish=claimcheck.options.publish)
    if doors:
        _setup().put_into(app, claimcheck, doors)
    serializer.install(claimcheck)


def _check_app(app: Any, options: Options) -> None:
    transport = time_chain.scheme_of(app)
    _check_formats(app)
    if transport == "sqs":
        check_transport_options(app.conf.broker_transport_options)
    time_chain.check_app(app, options, transport)


def _check_formats(app: Any) -> None:
    if app.conf.result_extended and app.conf.result_serializer in PLAIN_SERIALIZERS:
        raise ValueError(
            f"result_serializer={app.conf.result_serializer!r} cannot write what result_extended adds: "
            f"use 'json' or {serializer.NAME!r}"
        )


def _claimcheck(  # noqa: PLR0913 - the arguments of install
    app: Any,
    options: Options,
    *,
    store: Any,
    stores: Mapping[str, str | Store] | None,
    doors: "Mapping[str, AnyDoor] | None",
    metrics: MetricSink | None,
    **of_s3: str | None,
) -> ClaimCheck:
    transport = time_chain.scheme_of(app)
    return ClaimCheck(
        store=arguments.open_store(app, store, of_s3, options),
        codec=Codec(serializer.KOMBU_TYPES, options.codec),
        options=options,
        wire=_wire(app, transport, options),
        recorder=Recorder(arguments.default_sink(store) if metrics is None else metrics),
        longest_wait_seconds=time_chain.longest_wait_seconds(app, options, transport),
        stores=arguments.open_further(stores, options.alias),
        owned=_setup().owned(doors) if doors else frozenset(),
    )


def _setup() -> Any:
    """Return what puts doors in place. An app without doors imports none: every command would wait for it."""
    from pipeline.doors import setup  # noqa: PLC0415

    return setup


def _wire(app: Any, transport: str, options: Options) -> Wire:
    whole = bool(app.conf.broker_transport_options.get("sqs_base64_encoding"))
    return Wire.of(transport, options.reserve_bytes, whole=whole, dumps=json.dumps)
