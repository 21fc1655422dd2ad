"""The settings of the sample app, all from its environment."""

import json
import os
from functools import partial

from celery import Celery
from kombu import Exchange, Queue
from kombu.common import Broadcast

import pipeline
from pipeline.doors import (
    TaskCall,
    eventbridge,
    extended_client,
    extended_client_sender,
    plain_claims,
    s3_notifications,
    sns,
)
from pipeline.metrics import NullSink


def configured_app():
    """Return a new app with its claim check installed."""
    app = Celery("sample_app", broker=os.environ["SHOP_BROKER"], backend=os.environ["SHOP_BACKEND"])
    app.conf.update(
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": 30, "wait_time_seconds": 1, "polling_interval": 0.1},
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_default_queue=os.environ.get("SHOP_QUEUE", "sample_app"),
        worker_enable_remote_control=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
    )
    app.conf.update(json.loads(os.environ.get("SHOP_CONF", "{}")))
    if "SHOP_STORE" in os.environ:
        options = json.loads(os.environ.get("SHOP_OPTIONS", "{}"))
        if "SHOP_SIGNING_KEY" in os.environ:
            options["signing_key"] = os.environ["SHOP_SIGNING_KEY"].encode()
        if "SHOP_DOORS" in os.environ:
            options |= _doors(app.conf.task_default_queue, os.environ["SHOP_DOORS"])
        sink = None if "SHOP_METRICS" in os.environ else NullSink()  # a client of CloudWatch is 0.3 s of CPU
        pipeline.install(app, os.environ["SHOP_STORE"], metrics=sink, **options)
    if "SHOP_EXCHANGES" in os.environ:
        default, media = app.conf.task_default_queue, Exchange("media", type="topic")
        both = [Queue(f"{default}-{side}", media, routing_key="media.#") for side in ("left", "right")]
        news = Queue(f"{default}-news", media, routing_key="news.#")
        app.conf.task_queues = [Queue(default), Broadcast("everybody"), *both, news]
    if "SHOP_LATE" in os.environ:
        app.conf.task_serializer = "json"
    return app


def _doors(queue, bucket):
    """Return the doors of the sample, each at a queue of its own, and the stores that they name."""
    task, event = "doors_app.open_door", "doors_app.receive"
    in_order = {
        queue: sns("doors_app.fixed_later", attributes=("number",), raw=True),
        f"{queue.removesuffix('.fifo')}-words.fifo": partial(_words, "doors_app.run_twice"),
    }
    return {
        "stores": {"input": f"s3://{bucket}/input", "large": f"s3://{bucket}-large"},
        "doors": {
            f"{queue}-s3": s3_notifications(task, store="input"),
            f"{queue}-claims": plain_claims(task, store="input"),
            f"{queue}-extended": extended_client(task, store="large", deletes=True),
            f"{queue}-words": partial(_words, task),
            f"{queue}-naps": lambda message: [TaskCall("sample_app.nap", ["nap", float(message.body)])],
            f"{queue}-sns": sns(event, attributes=("amount",)),
            f"{queue}-raw": sns(event, attributes=("amount",), raw=True),
            f"{queue}-events": eventbridge(event, fields=("detail_type",)),
            f"{queue}-plain": extended_client_sender(store="large"),
            f"{queue}-legacy": extended_client_sender(store="large", threshold_bytes=0, legacy=True),
            **(in_order if queue.endswith(".fifo") else {}),
        },
    }


def _words(task, message):
    return [TaskCall(task, [word]) for word in message.body.split()]
