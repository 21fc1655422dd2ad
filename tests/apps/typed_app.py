"""An application with type hints that uses the public names: ``mypy --strict`` finds nothing in it.

It is not run; ``tests/integration/test_empty_environment.py`` checks it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, assert_type

from celery import Celery
from celery.app.task import Task
from starlette.applications import Starlette

import pipeline
from pipeline.aws_lambda import Enrichment, sqs_handler
from pipeline.doors import (
    Door,
    ForeignMessage,
    TaskCall,
    eventbridge,
    extended_client,
    extended_client_sender,
    plain_claims,
    s3_notifications,
    sns,
)
from pipeline.events import Event, EventBus, Notification, Topic
from pipeline.gateway import Anyone, BearerTokens, Limits, create_app
from pipeline.metrics import (
    CloudWatchSink,
    EmbeddedMetricFormatSink,
    Metric,
    MetricSink,
    NullSink,
    OpenTelemetrySink,
    Series,
    Unit,
)
from pipeline.results import forget
from pipeline.stores import Head, RangeStore, RecordKeeper, Records, Store, StoredObject, Upload
from pipeline.testing import ClaimCheckApp, CountingStore, FaultyStore, SentTask


class Totals:
    def __init__(self) -> None:
        self.totals: dict[str, float] = {}

    def emit(self, series: Sequence[Series]) -> None:
        self.totals |= {each.metric.name: each.total for each in series}


class Nowhere:
    @property
    def prefix(self) -> str:
        return "claims"

    def put(self, key: str, payload: bytes, metadata: Mapping[str, str]) -> None: ...

    def get(self, key: str, size_bytes: int) -> bytes:
        raise pipeline.PayloadMissingError(key)

    def delete(self, keys: Sequence[str]) -> Mapping[str, pipeline.StoreError]:
        return {}

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        return iter(())


def orders(message: ForeignMessage) -> Iterable[TaskCall]:
    if not message.body:
        raise pipeline.MalformedError("it is empty")
    return [TaskCall("shop.total", args=[message.body], kwargs={"queue": message.queue})]


app = Celery("shop", broker="sqs://")
claimcheck = pipeline.install(
    app,
    store="s3://my-bucket/claims",
    stores={"uploads": "s3://uploads/in", "nowhere": Nowhere()},
    doors={
        "orders": orders,
        "files": s3_notifications("shop.total", store="uploads", task_ids="event"),
        "plain": plain_claims("shop.total", store="uploads"),
        "large": extended_client("shop.total", store="uploads", deletes=True),
        "others": extended_client_sender(store="uploads"),
        "topic": sns("shop.total", attributes=["kind"], raw=True),
        "bus": eventbridge("shop.total", fields=["source"]),
    },
    metrics=Totals(),
    server_side_encryption="aws:kms",
    kms_key_id="alias/claims",
    payload_client="boto3",
    threshold_bytes="auto",
    signing_key=b"0123456789abcdef",
    payload_ttl_seconds=86_400 * 40,
    upload_threads_count=4,
)
assert_type(claimcheck, pipeline.ClaimCheck)
assert_type(claimcheck.store, Store)


@app.task
@pipeline.idempotent
def total(orders: list[dict[str, int]], *, currency: str = "EUR") -> int:
    return sum(order["amount"] for order in orders)


@pipeline.idempotent(key="order", keep_seconds=60)
def charge(order: str, cents: int) -> bool:
    return bool(order and cents)


assert_type(charge("a", 1), bool)


@app.task(bind=True, max_retries=3)
def load(self: "Task[Any, Any]", file: pipeline.Handle) -> int:
    assert_type(file.size_bytes, int | None)
    assert_type(file.load(), Any)
    with file.open() as stream:
        assert_type(stream.read(), bytes)
    for chunk in file.chunks():
        assert_type(chunk, bytes)
    assert_type(file.download("x.csv", progress=progress), Path)
    assert_type(file.url(60), str)
    return len(pipeline.Handle.from_dict(file.as_dict()).key)


def progress(done: int, whole: int | None) -> None: ...


def publish(path: Path) -> None:
    handle = pipeline.put(path, name="a.csv", media_type="text/csv", ttl_days=7, progress=progress)
    assert_type(handle, pipeline.Handle)
    model = pipeline.shared([1.0], uses=2)
    assert_type(model.handle, pipeline.Handle)
    with pipeline.batch():
        load.delay(handle)
        load.apply_async((handle,), queue="bulk", countdown=5)
    try:
        result = total.delay([{"amount": 1}])
        assert_type(forget(result), None)
    except pipeline.BatchSendError as exc:
        raise RuntimeError(exc.failed) from exc
    except pipeline.PipelineError as exc:
        assert_type(exc.retryable, bool)


def events() -> list[str]:
    topic = Topic("arn:aws:sns:eu-west-1:1:orders", subscribers=2)
    topic.publish({"id": 1}, {"kind": "order"}, subject="new", group="a")
    topic.publish_batch([Notification(value=1, attributes={"kind": 1})])
    bus = EventBus(source="shop", keep=["kind"])
    try:
        return bus.put_events([Event("order", {"kind": 1})])
    except pipeline.EventSendError as exc:
        raise RuntimeError(exc.failed) from exc


def web() -> Starlette:
    limits = Limits(size_bytes=1_000, media_types=("text/csv",))
    create_app(app, store="uploads", authentication=Anyone(), limits=limits)
    return create_app(app, store="uploads", authentication=BearerTokens({"secret": "ann"}))


handler = sqs_handler(app)
pipes = Enrichment("s3://my-bucket/claims", keep=["kind"], threshold_bytes=0)
assert handler({"Records": []}, None)
assert pipes.split([]) == []


def place(claim: pipeline.Claim) -> tuple[str, str, int]:
    return claim.store, claim.key, claim.size_bytes


def counted(store: Store, ranges: RangeStore, keeper: RecordKeeper) -> int:
    doubled = CountingStore(FaultyStore(store, [pipeline.StoreUnavailableError("busy")], verbs=["get"]))
    head, upload, records = ranges.head("a"), ranges.upload("a", {}), keeper.records()
    assert_type(head, Head)
    assert_type(upload, Upload)
    assert_type(records, Records)
    pipeline.install(app, store=doubled)
    return doubled.calls["get"]


SINKS: list[MetricSink] = [
    NullSink(),
    EmbeddedMetricFormatSink(),
    OpenTelemetrySink(),
    CloudWatchSink(),
    Totals(),
]
DOOR: Door = orders
UNITS: dict[Metric, Unit] = {}


def test_total(claimcheck_app: ClaimCheckApp) -> None:
    total.delay([{"amount": 1}])
    with claimcheck_app.worker():
        pass
    sent: SentTask = claimcheck_app.sent[0]
    assert sent.is_offloaded
    assert [each.size_bytes for each in claimcheck_app.payloads]


assert_type(pipeline.__version__, str)
pipeline.uninstall()
