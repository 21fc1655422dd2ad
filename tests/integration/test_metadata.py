"""What an object's metadata says, whatever its task is called, and requests that no client can send."""

import random

import pytest

from pipeline.errors import StoreDeniedError
from pipeline.stores.s3.store import S3Store

pytestmark = [pytest.mark.aws]

NOISE = random.Random(12).randbytes(400_000)
ODD = [
    "import\n42",
    "a\r\nx-amz-acl: public-read",
    "nul\x00",
    "rs\x1e",
    "é",
    "\U0001f600" * 90,
    "x" * 300,
    " ",
]
"""What no HTTP header takes as it is, or what looks like one of its own."""
NAMES = ["newline", "header", "nul", "separator", "accent", "astral", "long", "space"]


@pytest.mark.parametrize("text", ODD, ids=NAMES)
def test_any_id_and_name_can_be_offloaded(sample_of, aws, text):
    """Control characters, astral ones and long texts in an id or a name keep no payload from its store."""
    bucket = aws.bucket()
    sample = sample_of(store=f"s3://{bucket}/claims", options={"store_retry_seconds": 5})
    sample.app.send_task(f"import {text}", (NOISE,), task_id=f"id {text}")
    (key,) = sample.objects()
    metadata = aws.client("s3").head_object(Bucket=bucket, Key=key)["Metadata"]

    assert metadata["task"].isascii()
    assert metadata["task"].isprintable()
    assert set(metadata) == {"task", "task-id", "digest"}


@pytest.mark.parametrize("text", ODD, ids=NAMES)
@pytest.mark.parametrize("store", ["file", "memory"])
def test_other_stores_take_any_id_and_name(sample_of, tmp_path, store, text):
    """A store without metadata has no trouble with them either."""
    urls = {"file": f"file://{tmp_path}/claims", "memory": "memory://odd"}
    sample = sample_of(broker="memory://", store=urls[store])
    sample.app.send_task(f"import {text}", (NOISE,), task_id=f"id {text}")

    assert len(sample.objects()) == 1
    sample.clear()


@pytest.mark.parametrize("text", ["import\n42", "\u00e9", "\U0001f600"])
def test_a_request_that_cannot_be_sent_is_not_repeated(moto_aws, text):
    """A request that the client itself rejects is not retryable."""
    store = S3Store(moto_aws.bucket(), "claims")
    with pytest.raises(StoreDeniedError, match=r"request cannot be sent .*a retry does not help"):
        store.put("claims/key", b"payload", {"task": text})
    store.close()
