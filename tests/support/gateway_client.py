"""A gateway over a bucket that is none, and a client of it with a valid token."""

from base64 import b64encode
from hashlib import sha256
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from pipeline.gateway import BearerTokens, Limits
from pipeline.gateway.app import gateway, routes
from pipeline.gateway.claims import Links
from pipeline.gateway.task_states import TaskState
from pipeline.gateway.uploads import UploadDesk
from pipeline.stores.presigned_uploads import Part, Presigned
from pipeline.stores.s3.store import S3Store

TOKEN = "a-token-of-some-length"
MIB = 1024**2
KEY = f"input/0a/2026/11/26/{'0' * 40}/a.csv"
PAYLOAD = f"v1/0a/2026/11/26/{'0' * 40}"
CHECKSUM = b64encode(sha256(b"").digest()).decode()


class Bucket:
    """Uploads without a bucket: remembers what it was asked."""

    def __init__(self):
        self.asked, self.stored = [], [Part(1, 5 * MIB, '"a"', CHECKSUM), Part(2, 10, '"b"', CHECKSUM)]

    def put(self, key, announced, expires_seconds):
        self.asked.append(("put", key, announced, expires_seconds))
        return Presigned("PUT", "https://bucket/object", {"Content-Type": announced.media_type})

    def begin(self, key, media_type):
        self.asked.append(("begin", key, media_type))
        return "upload-1"

    def put_part(self, key, upload, number, announced, expires_seconds):
        self.asked.append(("put_part", key, upload, number, announced, expires_seconds))
        return Presigned("PUT", "https://bucket/part", {})

    def parts(self, key, upload):
        return self.stored

    def complete(self, key, upload, parts):
        self.asked.append(("complete", key, upload, parts))

    def abort(self, key, upload):
        self.asked.append(("abort", key, upload))


@pytest.fixture
def bucket():
    return Bucket()


@pytest.fixture
def client(bucket, monkeypatch):
    """A client of a gateway for CSV files up to 20 MiB, with a valid token."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    return client_of(bucket, lambda task_id: TaskState(task_id, "PENDING"))


def client_of(bucket, state, authentication=None):
    """Return a client of a gateway with these parts."""
    limits = Limits(size_bytes=20 * MIB, media_types=["text/*"], part_bytes=5 * MIB)
    desk = UploadDesk(bucket, "input", limits, lambda key: f"task of {key}")
    claims, inputs = (S3Store("bucket", prefix, region="us-east-1") for prefix in ("claims", "input"))
    links = Links(SimpleNamespace(store=claims), inputs, 60)
    app = gateway(routes(desk, links, state), authentication or BearerTokens({TOKEN: "ada"}))
    return TestClient(app, headers={"Authorization": f"Bearer {TOKEN}"})


def announced(**changes):
    """Return a small CSV file as a client announces it."""
    about = {"name": "März 1.csv", "media_type": "text/csv", "size_bytes": 50, "sha256": CHECKSUM}
    return {**about, **changes}
