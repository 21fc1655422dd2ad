"""The serializer that everybody writes: large bodies go to S3, and a key travels.

It deletes nothing, as most do: a decoder does not know when a task has ended. A lifecycle rule must.
Celery decodes each message twice, in the main process and in the child.
"""

import json
from functools import cache
from typing import Any
from uuid import uuid4

import boto3
from kombu.serialization import register

from benchmarks.peers.settings import Settings
from benchmarks.peers.workload import OFFLOAD_BYTES

SETTINGS = Settings.read()


@cache
def _s3() -> Any:
    return boto3.client("s3")


def _encode(body: Any) -> str:
    text = json.dumps(body)
    if len(text) <= OFFLOAD_BYTES:
        return text
    key = str(uuid4())
    _s3().put_object(Bucket=SETTINGS.bucket, Key=key, Body=text.encode())
    return json.dumps({"s3_key": key})


def _decode(text: str) -> Any:
    value = json.loads(text)
    if not isinstance(value, dict):
        return value
    answer = _s3().get_object(Bucket=SETTINGS.bucket, Key=value["s3_key"])
    return json.loads(answer["Body"].read())


def install() -> None:
    """Register it with Kombu."""
    register("naive", _encode, _decode, "application/x-naive", "utf-8")
