"""The Celery application of four peers; BENCH_PEER says which. As a program, it is a worker of it."""

import os

from celery import Celery, group

import pipeline
from benchmarks.peers import naive
from benchmarks.peers.workload import argument, run
from pipeline.metrics import NullSink

PEER = os.environ["BENCH_PEER"]
POLLING_SECONDS = 0.01
"""A worker of Kombu's whose prefetch is full waits so long. With the default it runs one prefetch a second.
Source: kombu 5.7.0, ``transport/SQS/__init__.py`` (``_loop1``)."""
app = Celery("benchmarks", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    broker_transport_options={"polling_interval": POLLING_SECONDS},
    task_default_queue=os.environ["BENCH_QUEUE"],
    task_ignore_result=True,
    worker_enable_remote_control=False,
)
if PEER == "naive serializer":
    naive.install()
    app.conf.update(task_serializer="naive", accept_content=["naive"])
elif PEER == "this":
    pipeline.install(app, store=f"s3://{os.environ['BENCH_BUCKET']}/claims", metrics=NullSink())


@app.task
def work(value: object) -> None:
    """Run a task."""
    run(value)


def publish(count: int) -> None:
    """Publish tasks together, as applications do: with a group."""
    value = argument(os.environ["BENCH_PAYLOAD"])
    group(work.s(value) for _ in range(count)).apply_async()


def consume() -> None:
    """Run a worker until it is killed."""
    app.Worker(
        pool="prefork",
        concurrency=2,
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    ).start()
