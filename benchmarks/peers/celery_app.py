"""The Celery application of four peers; the settings say which."""

import time
from typing import Any

from celery import Celery, group

import pipeline
from benchmarks.peers import naive
from benchmarks.peers.settings import Settings
from benchmarks.peers.workload import run
from pipeline.metrics import NullSink

SETTINGS = Settings.read()
POLLING_SECONDS = 0.01
"""A worker of Kombu's whose prefetch is full waits so long. With the default it runs one prefetch a second.
Source: kombu 5.7.0, ``transport/SQS/__init__.py`` (``_loop1``)."""
READ_AHEAD_BYTES = {"this": 0, "this, reading ahead": 67_108_864}
app = Celery("benchmarks", broker=SETTINGS.broker)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    broker_transport_options={"polling_interval": POLLING_SECONDS},
    task_default_queue=SETTINGS.queue,
    task_ignore_result=True,
    worker_enable_remote_control=SETTINGS.has_commands,
)
if SETTINGS.peer == "naive serializer":
    naive.install()
    app.conf.update(task_serializer="naive", accept_content=["naive"])
elif SETTINGS.peer in READ_AHEAD_BYTES:
    pipeline.install(
        app,
        store=f"s3://{SETTINGS.bucket}/claims",
        metrics=NullSink(),
        read_ahead_bytes=READ_AHEAD_BYTES[SETTINGS.peer],
    )


@app.task
def work(value: Any, sent: float) -> None:
    """Run a task."""
    run(SETTINGS.payload, SETTINGS.stamps, value, sent)


def together(value: Any, count: int) -> None:
    """Publish tasks together, as applications do: with a group."""
    group(work.s(value, time.monotonic()) for _ in range(count)).apply_async()


def one(value: Any) -> None:
    """Publish one task."""
    work.delay(value, time.monotonic())


def consume() -> None:
    """Run a worker until it is killed."""
    app.Worker(
        pool=SETTINGS.pool,
        concurrency=SETTINGS.concurrency,
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    ).start()
