"""Checks after the demo: each file ended as expected, and nothing is left."""

import urllib.error
from collections.abc import Iterator, Sequence

import boto3

from tasks.demo.checks import Check, waiting_messages
from tasks.demo.doors.aws_resources import bucket_and_prefix, queue_names
from tasks.demo.doors.client import Client
from tasks.demo.doors.uploading import Uploaded


def checks(client: Client, done: Sequence[Uploaded]) -> Iterator[Check]:
    """Run all checks. Workers must be stopped; the gateway must run."""
    good = sum(each.is_as_expected for each in done)
    yield Check(good == len(done), f"ended as expected: {good} of {len(done)}")
    stored = [each for each in done if each.key]
    read = sum(each.is_read_back for each in stored)
    yield Check(read == len(stored), f"read back by a presigned URL: {read} of {len(stored)}")
    status = _status_without_token(client)
    yield Check(status == 401, f"without a token: the gateway answers {status}")
    yield waiting_messages(queue_names())
    yield _bucket()


def _status_without_token(client: Client) -> int:
    try:
        Client(client.url, token="").ask("GET", "/tasks/1")
    except urllib.error.HTTPError as exc:
        exc.close()
        return exc.code
    return 200


def _bucket() -> Check:
    """Check that no object and no part of an upload is left, of files and payloads alike."""
    bucket, _ = bucket_and_prefix()
    s3 = boto3.client("s3")
    objects = s3.list_objects_v2(Bucket=bucket)["KeyCount"]
    parts = len(s3.list_multipart_uploads(Bucket=bucket).get("Uploads", ()))
    return Check(not objects and not parts, f"bucket empty: {objects} objects, {parts} unfinished uploads")
