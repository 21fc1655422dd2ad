"""Servers that stand in for AWS and Redis: real processes on free ports, ended by pid.

Each is a :class:`pipeline.local.Server` with one verb more, ``reset``.
What they lack is in docs/reference/limits.md.
"""

import os
import socket
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple
from uuid import uuid4

import pytest
from boto3.session import Session

from benchmarks.peers.standins import ROOT, Ministack
from benchmarks.peers.standins import Redis as RedisServer
from pipeline.local import HOST, REGION, EmbeddedAWS, environment

__all__ = ["AWS", "ROOT", "Depth", "Ministack", "Moto", "Redis", "absent", "environment", "running"]


class Moto(EmbeddedAWS):
    """moto's server. It closes the connection after every answer, and checks no signature."""


class Redis(RedisServer):
    """redis-server, with the URL of its first database."""

    def __init__(self):
        super().__init__()
        self.url = f"redis://{HOST}:{self.port}/0"

    def answers(self):
        """Ping it."""
        return self.say("PING") == "+PONG"

    def reset(self):
        """Forget every key of every database."""
        assert self.say("FLUSHALL") == "+OK"

    def say(self, command):
        """Send one inline command, and return the first line of the answer."""
        with socket.create_connection((HOST, self.port), 5) as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.makefile("r").readline().strip()


def absent(message):
    """Skip a test whose service is not here, and fail it in CI."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(message)


def running(server):
    """Yield a server that runs; without its program, skip the test here and fail it in CI."""
    try:
        server.start()
    except FileNotFoundError as exc:
        absent(f"{server.name} is not installed: {exc}")
    yield server
    server.stop()


class Depth(NamedTuple):
    """How many messages a queue has, as SQS counts them."""

    waiting: int
    hidden: int
    delayed: int


@dataclass(frozen=True)
class AWS:
    """A stand-in for AWS as a test sees it: clients that go straight to it, fresh buckets and queues."""

    name: str
    url: str

    def client(self, service, **options):
        """Return a boto3 client; options are boto3's, such as ``endpoint_url`` or ``config``."""
        if options:
            return _client(service, **{"endpoint_url": self.url, **options})
        return _shared_client(service, self.url)

    def bucket(self, name=None):
        """Make a bucket, and return its name."""
        name = name or f"bucket-{uuid4().hex[:12]}"
        where = {"LocationConstraint": REGION}
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
        return name

    def table(self):
        """Make a table of DynamoDB as the store wants it, and return its name."""
        name = f"table-{uuid4().hex[:12]}"
        self.client("dynamodb").create_table(
            TableName=name, BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )  # fmt: skip
        return name

    def queue(self, name=None, **attributes):
        """Make a queue with SQS's own attribute names, and return its URL."""
        named = name or f"queue-{uuid4().hex[:12]}"
        texts = {key: str(value) for key, value in attributes.items()}
        return self.client("sqs").create_queue(QueueName=named, Attributes=texts)["QueueUrl"]

    def url_of(self, queue):
        """Return the URL of a queue that is there."""
        return self.client("sqs").get_queue_url(QueueName=queue)["QueueUrl"]

    def attributes(self, queue):
        """Return all that SQS says of a queue, by its name or its URL."""
        url = queue if "://" in queue else self.url_of(queue)
        return self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

    def depth(self, queue):
        """Return how many messages a queue has, by its name or its URL."""
        found, name = self.attributes(queue), "ApproximateNumberOfMessages"
        return Depth(int(found[name]), int(found[f"{name}NotVisible"]), int(found[f"{name}Delayed"]))


@cache
def _session():
    """Return one session for all: boto3's data files take 100 ms to read."""
    return Session("test", "test", region_name=REGION)


@cache
def _shared_client(service, url):
    return _client(service, endpoint_url=url)


def _client(service, **options):
    return _session().client(service, **options)
