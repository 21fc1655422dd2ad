"""Mistakes that a type checker finds; the comment at the end of a line is the code of mypy's error.

``tests/integration/test_empty_environment.py`` compares.
"""

from celery import Celery

import pipeline
from pipeline.aws_lambda import Enrichment
from pipeline.doors import TaskCall, s3_notifications
from pipeline.events import Event, EventBus, Notification, Topic
from pipeline.gateway import Anyone, Limits, create_app
from pipeline.testing import FaultyStore

app = Celery("shop", broker="sqs://")


class Cupboard:
    prefix = "claims"


def no_door(text: str) -> list[str]:
    return [text]


pipeline.install(app, store="s3://my-bucket/claims", treshold_bytes=1)  # call-arg
pipeline.install(app, store="s3://my-bucket/claims", threshold_bytes="large")  # arg-type
pipeline.install(app, store=Cupboard())  # arg-type
pipeline.install(app, doors={"orders": no_door})  # dict-item
pipeline.install(app, metrics=print)  # arg-type
handle = pipeline.put(b"", ttl_day=7)  # call-arg
handle.downlod("a.csv")  # attr-defined
handle.url()  # call-arg
pipeline.shared([1])  # call-arg
pipeline.batch(10)  # call-arg
claimcheck = pipeline.install(app)
claimcheck.put(b"", media="text/csv")  # call-arg
claimcheck.options.threshold_byte  # attr-defined
TaskCall("shop.total", arg=[1])  # call-arg
s3_notifications("shop.total")  # call-arg
Topic("arn:aws:sns:eu-west-1:1:orders").publish(1, subjects="new")  # call-arg
Notification(value=1, attribute={})  # call-arg
EventBus(sources="shop").put_events([])  # call-arg
Event("order", {"kind": 1}, kind=1)  # call-arg
Enrichment("s3://my-bucket/claims", treshold_bytes=0)  # call-arg
create_app(app, store="uploads", authentication=Anyone(), limit=Limits())  # call-arg
FaultyStore(claimcheck.store, [pipeline.StoreDeniedError("no")], verb=["get"])  # call-arg


@pipeline.idempotent(keys="order")  # call-overload, untyped-decorator
def charge(order: str) -> None: ...


@pipeline.idempotent
def pay(order: str) -> None: ...


pay(1)  # arg-type
