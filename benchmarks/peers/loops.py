"""Producer and consumer loops without Celery: boto3 alone, and AWS's extended client."""

import json
import multiprocessing
import time
from collections.abc import Mapping
from functools import cache
from typing import Any
from uuid import uuid4

import boto3

from benchmarks.peers.settings import Settings
from benchmarks.peers.workload import OFFLOAD_BYTES, run

BATCH = 10
SETTINGS = Settings.read()
QUEUE: Mapping[str, Any] = {"QueueName": SETTINGS.queue, "Attributes": {"VisibilityTimeout": "1800"}}
"""With Kombu's visibility timeout."""


class Floor:
    """The leanest way with boto3: a PUT and a GET for each payload, all else ten at a time."""

    def __init__(self) -> None:
        session = boto3.Session()
        self.s3, self.sqs = session.client("s3"), session.client("sqs")
        self.url = self.sqs.create_queue(**QUEUE)["QueueUrl"]

    def send(self, texts: list[str]) -> None:
        """Store what is large, and send up to ten messages."""
        entries = [
            {"Id": str(number), "MessageBody": self._stored(text)} for number, text in enumerate(texts)
        ]
        self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)

    def receive(self) -> list[Mapping[str, Any]]:
        """Receive up to ten messages."""
        options = {"MaxNumberOfMessages": BATCH, "WaitTimeSeconds": 10}
        return self.sqs.receive_message(QueueUrl=self.url, **options).get("Messages", [])

    def text(self, message: Mapping[str, Any]) -> str:
        """Return the body that was sent."""
        key = self._key(message)
        return self._get(key) if key else message["Body"]

    def delete(self, messages: list[Mapping[str, Any]]) -> None:
        """Delete messages, then their payloads."""
        entries = [
            {"Id": str(number), "ReceiptHandle": each["ReceiptHandle"]}
            for number, each in enumerate(messages)
        ]
        self.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)
        keys = [{"Key": key} for key in map(self._key, messages) if key]
        if keys:
            self.s3.delete_objects(Bucket=SETTINGS.bucket, Delete={"Objects": keys, "Quiet": True})

    def _stored(self, text: str) -> str:
        if len(text) <= OFFLOAD_BYTES:
            return text
        key = str(uuid4())
        self.s3.put_object(Bucket=SETTINGS.bucket, Key=key, Body=text.encode())
        return f"s3:{key}"

    def _get(self, key: str) -> str:
        return self.s3.get_object(Bucket=SETTINGS.bucket, Key=key)["Body"].read().decode()

    @staticmethod
    def _key(message: Mapping[str, Any]) -> str | None:
        body: str = message["Body"]
        return body.removeprefix("s3:") if body.startswith("s3:") else None


class ExtendedClient(Floor):
    """AWS's extended client does the same by itself: it reads payloads at the receive, one by one."""

    def __init__(self) -> None:
        from sqs_extended_client import SQSExtendedClientSession  # noqa: PLC0415 - the floor does without

        self.sqs = SQSExtendedClientSession().client("sqs")
        self.sqs.large_payload_support = SETTINGS.bucket
        self.sqs.delete_payload_from_s3 = True
        self.url = self.sqs.create_queue(**QUEUE)["QueueUrl"]

    def _stored(self, text: str) -> str:
        return text

    @staticmethod
    def _key(message: Mapping[str, Any]) -> str | None:
        del message


@cache
def _client() -> Floor:
    return {"AWS's extended client": ExtendedClient, "floor": Floor}[SETTINGS.peer]()


def _text(value: Any) -> str:
    return json.dumps([value, time.monotonic()])


def together(value: Any, count: int) -> None:
    """Publish messages, ten at a time."""
    for first in range(0, count, BATCH):
        _client().send([_text(value) for _ in range(min(BATCH, count - first))])


def one(value: Any) -> None:
    """Publish one message."""
    _client().send([_text(value)])


def _consume() -> None:
    client = _client()
    while True:
        messages = client.receive()
        for message in messages:
            run(SETTINGS.payload, SETTINGS.stamps, *json.loads(client.text(message)))
        if messages:
            client.delete(messages)


def consume() -> None:
    """Run processes until they are killed."""
    children = [multiprocessing.Process(target=_consume) for _ in range(SETTINGS.concurrency)]
    for each in children:
        each.start()
    for each in children:
        each.join()
