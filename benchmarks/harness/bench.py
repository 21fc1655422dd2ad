"""The servers and proxies of a run."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import boto3
import redis

from benchmarks.harness.counts import Counts, grows_with_tasks
from benchmarks.harness.prices import dollars
from benchmarks.peers.standins import Ministack, Redis
from benchmarks.proxy import Proxy
from benchmarks.proxy.delaying import DelayingProxy
from pipeline.local import HOST, REGION, environment


@dataclass(frozen=True)
class RedisUse:
    """What Redis has counted."""

    memory_bytes: int
    wire_bytes: int


@dataclass
class Bench:
    """Ministack and Redis, each behind a proxy that delays."""

    aws: Ministack
    redis: Redis
    aws_proxy: Proxy
    redis_proxy: DelayingProxy

    @property
    def counts(self) -> Counts:
        """Return what passed the proxy of AWS since :meth:`count`."""
        return Counts.of(tuple(self.aws_proxy.requests))

    @property
    def redis_url(self) -> str:
        """Return the URL of Redis behind its proxy."""
        return f"redis://{HOST}:{self.redis_proxy.port}/0"

    def reset(self) -> None:
        """Delete everything, and let the next cell begin without a delay."""
        self.aws.reset()
        with redis.Redis(port=self.redis.port) as store:
            store.flushall()
        self.count(0)

    def count(self, delay_ms: int) -> None:
        """Count from zero, with this delay for each request."""
        self.aws_proxy.latency_seconds = self.redis_proxy.latency_seconds = delay_ms / 1_000
        self.aws_proxy.requests.clear()

    def bucket(self) -> str:
        """Make a bucket."""
        name = f"bucket-{uuid4().hex[:12]}"
        where = {"LocationConstraint": REGION}
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
        return name

    def payloads(self, bucket: str) -> int:
        """Return how many objects a bucket has."""
        count: int = self.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"]
        return count

    def messages(self, queue: str) -> int:
        """Return how many messages a queue has, hidden ones too."""
        sqs = self.client("sqs")
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(map(int, found.values()))

    def client(self, service: str) -> Any:
        """Return a client that goes straight to the server, uncounted."""
        return _client(service, self.aws.url)

    def redis_use(self) -> RedisUse:
        """Return what Redis counts."""
        with redis.Redis(port=self.redis.port) as store:
            info: Mapping[str, Any] = store.info()
        return RedisUse(info["used_memory"], info["total_net_input_bytes"] + info["total_net_output_bytes"])

    def figures(self, count: int) -> dict[str, Any]:
        """Return calls, dollars and bytes for each of so many tasks."""
        counts = self.counts
        calls, billed = (
            {name: number / count for name, number in counter.items() if grows_with_tasks(name)}
            for counter in (counts.calls, counts.billed)
        )
        return {
            "calls": sum(calls.values()),
            "calls_by_kind": calls,
            "dollars_per_million": dollars(billed),
            "wire_kb": counts.wire_bytes / 1_000 / count,
        }


@cache
def _client(service: str, url: str) -> Any:
    return boto3.client(service, endpoint_url=url)


@contextmanager
def running(*, names_processes: bool = False) -> Iterator[Bench]:
    """Run servers and proxies for the length of a ``with`` block, and let the environment lead to them."""
    with (
        Ministack() as aws,
        Redis() as redis_server,
        Proxy(aws.url, names_processes=names_processes, keeps_connections=True) as aws_proxy,
        DelayingProxy(redis_server.port) as redis_proxy,
        patch.dict(os.environ, environment(aws_proxy.url)),
    ):
        yield Bench(aws, redis_server, aws_proxy, redis_proxy)
