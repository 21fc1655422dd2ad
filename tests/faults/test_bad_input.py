"""Bad input and bad configuration: one clear error each, and nothing is lost."""

import io
import random
import subprocess
import sys

import pytest
from kombu.exceptions import EncodeError
from sample_fixtures import cleared, standing_sample
from workers import APPS, eventually

from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck.claim import Message, digest_of
from pipeline.claimcheck.compression import zstd
from pipeline.errors import (
    ClaimError,
    PayloadCorruptError,
    PayloadMissingError,
    PayloadTooLargeError,
    StoreDeniedError,
)
from pipeline.serializer import serializer

pytestmark = [pytest.mark.aws, pytest.mark.worker]

NOISE = random.Random(11).randbytes(50_000)
NO_LINKS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
WRONG_REGION = (
    b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'eu-west-1' is wrong; "
    b"expecting 'us-east-2'</Message><Region>us-east-2</Region></Error>"
)


def start(sample):
    """Start a worker that is expected to fail its start, and return its status and its output."""
    command = [sys.executable, "-m", "celery", "-A", "sample_app", "worker", "-P", "solo", "-l", "ERROR"]
    ended = subprocess.run(
        command, cwd=APPS, env=sample.environment, capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode, ended.stderr


class TestPublisher:
    """What the caller of ``delay`` gets."""

    def test_a_missing_bucket(self, sample_of, moto_aws):
        """A bucket that does not exist is one error that says so, and nothing is on the queue."""
        sample = sample_of(store="s3://no-such-bucket/claims", options={"threshold_bytes": 0})

        with pytest.raises(EncodeError, match=r"bucket=no-such-bucket.*does not exist"):
            sample.digest.delay(1)
        assert moto_aws.client("sqs").list_queues().get("QueueUrls", []) == []

    def test_no_credentials(self, sample, monkeypatch):
        """A publish without credentials raises EncodeError."""
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

        with pytest.raises(EncodeError, match="credentials"):
            sample.digest.delay(1)

    def test_a_wrong_region(self, sample_of, moto_aws, proxy):
        """A bucket in another region is declined with an error that names the client's region."""
        proxy.fail("PutObject", status=400, content=WRONG_REGION)
        sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})

        with pytest.raises(EncodeError, match=r"region.*eu-west-1"):
            sample.digest.delay(1)

    def test_a_bucket_without_permission(self, sample_of, moto_aws, proxy):
        """A 403 is not retried, and names bucket, key and the likely permission."""
        denial = proxy.fail("PutObject", status=403, content=DENIED)
        sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})

        with pytest.raises(EncodeError, match=r"key=claims/v1/.*s3:PutObject") as caught:
            sample.digest.delay(1)
        assert isinstance(caught.value.__cause__ or caught.value.args[0], StoreDeniedError)
        assert denial.used == 1

    def test_a_body_over_the_limit(self, sample_of, moto_aws):
        """A payload above the limit names its size, the limit and the setting."""
        bucket = moto_aws.bucket()
        sample = sample_of(store=f"s3://{bucket}/claims", options={"payload_limit_bytes": 10_000})

        with pytest.raises(EncodeError, match=r"500\d\d bytes, and payload_limit_bytes is 10000"):
            sample.digest.delay(NOISE)
        assert sample.objects() == []


class TestStart:
    """A worker that could lose messages does not start, and says why in one sentence."""

    def test_a_missing_bucket(self, sample_of, moto_aws):
        """The worker checks its store before it takes a message."""
        status, said = start(sample_of(store="s3://no-such-bucket/claims"))

        assert status != 0
        assert "claimcheck: " in said
        assert "does not exist" in said
        assert "Traceback" not in said

    def test_a_bucket_without_permission(self, sample_of, moto_aws, proxy):
        """Each permission that a task needs is tried: here reading is denied."""
        proxy.fail("GetObject", status=403, content=DENIED)
        status, said = start(sample_of(store=f"s3://{moto_aws.bucket()}/claims"))

        assert status != 0
        assert "s3:GetObject" in said

    def test_a_broken_time_chain(self, sample_of, moto_aws):
        """A task that may take longer than SQS can hide its message would run twice."""
        sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims")
        sample.environment["SHOP_CONF"] = '{"task_time_limit": 43200}'
        status, said = start(sample)

        assert status != 0
        assert "time chain broken" in said

    def test_a_task_that_outlives_what_sqs_can_do(self, sample_of, moto_aws):
        """The time limit of a single task is checked too, and the error names the task."""
        sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims")
        sample.environment["SHOP_CONF"] = '{"task_annotations": {"sample_app.nap": {"time_limit": 50000}}}'
        status, said = start(sample)

        assert status != 0
        assert "time chain broken for task sample_app.nap: time limit 50000 s" in said

    def test_configuration_read_after_install(self, sample_of, moto_aws):
        """Settings that undo what install set are noticed before a message is taken."""
        sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims")
        sample.environment["SHOP_LATE"] = "1"
        status, said = start(sample)

        assert status != 0
        assert "call pipeline.install(app, …) after the app has read its configuration" in said


class TestWorker:
    """What becomes of a message that cannot be honoured: a FAILURE that explains itself, payload kept."""

    @pytest.fixture(scope="class")
    @classmethod
    def running(cls, moto, tmp_path_factory):
        """One worker for all of these tests."""
        with standing_sample(
            moto,
            tmp_path_factory.mktemp("sample_app"),
            pool="prefork",
            options={"payload_limit_bytes": 1_000_000},
        ) as sample:
            yield sample

    @pytest.fixture
    def sample(self, running, moto, monkeypatch):
        """The sample of this class, without what earlier tests left."""
        return cleared(running, moto, monkeypatch)

    @staticmethod
    def offloaded(claimcheck, data=None, **changes):
        """Put a payload away, and return a message that claims it, changed as asked."""
        sealed = claimcheck.seal([[NOISE], {}, []])
        claim = claimcheck.offload(sealed).claim
        if data is not None:
            claimcheck.store.delete([claim.key])
            claimcheck.store.put(claim.key, data(sealed.data), {})
        fields = {name: getattr(claim, name) for name in claim.__struct_fields__}
        fields.update({name: change(fields) for name, change in changes.items()})
        embed = claimcheck.codec.encode_embed(NO_LINKS)
        return Message(shape="task", payload=type(claim)(**fields), embed=embed)

    @staticmethod
    def send(sample, body, content_type=serializer.CONTENT_TYPE):
        """Send a body as it is, as the message of a task."""
        task_id = f"forged-{random.randrange(10**9)}"
        headers = sample.app.amqp.create_task_message(task_id, "sample_app.digest_bytes", (), {}).headers
        with sample.app.producer_or_acquire() as producer:
            producer.publish(
                body, routing_key=sample.queue, exchange="", headers=headers,
                content_type=content_type, content_encoding="binary", correlation_id=task_id,
                declare=[sample.app.amqp.queues[sample.queue]],
            )  # fmt: skip
        return sample.app.AsyncResult(task_id)

    @pytest.mark.parametrize(
        ("changes", "error", "text"),
        [
            ({"key": lambda f: f["key"].replace("claims/", "other/")}, ClaimError, "expected claims/v1/"),
            ({"key": lambda f: "claims/../" + f["key"]}, ClaimError, "expected claims/v1/"),
            ({"store": lambda _: "elsewhere"}, ClaimError, "store=elsewhere"),
            ({"key": lambda f: f["key"][:-8] + "00000000"}, PayloadMissingError, "missing"),
            ({"digest": lambda _: "blake3:" + "0" * 64}, PayloadCorruptError, "digest"),
            ({"size_bytes": lambda f: f["size_bytes"] - 1}, PayloadCorruptError, "bytes"),
            ({"expanded_bytes": lambda _: 10**9}, PayloadTooLargeError, "payload_limit_bytes"),
            ({"expanded_bytes": lambda f: f["expanded_bytes"] + 1}, PayloadCorruptError, "expand"),
            ({"codec": lambda _: "pickle"}, ClaimError, "codec=pickle"),
            ({"compression": lambda _: "brotli"}, ClaimError, "compression=brotli"),
        ],
    )
    def test_a_forged_claim(self, sample, changes, error, text):
        """A forged claim is rejected with its reason, and the object that it names is not touched."""
        message = self.offloaded(serializer.installed(), **changes)
        result = self.send(sample, wire_form.write(message))

        with pytest.raises(error, match=text):
            result.get(timeout=30)
        assert len(sample.objects()) == 1

    @pytest.mark.parametrize(
        ("damage", "text"),
        [
            (lambda data: data[:-1], "bytes"),
            (lambda data: data + b"x", "bytes"),
            (lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], "digest"),
        ],
        ids=["truncated", "extended", "flipped"],
    )
    def test_a_damaged_object(self, sample, damage, text):
        """An object that is not what was put there never reaches a task, and is kept as evidence."""
        message = self.offloaded(serializer.installed(), data=damage)
        result = self.send(sample, wire_form.write(message))

        with pytest.raises(PayloadCorruptError, match=text):
            result.get(timeout=30)
        assert len(sample.objects()) == 1

    def test_a_zip_bomb(self, sample):
        """A payload that expands beyond what its claim states is stopped; the worker stays small."""
        bomb = zstd.compress(b"\0" * 900_000_000, 1)
        message = self.offloaded(
            serializer.installed(),
            data=lambda _: bomb,
            size_bytes=lambda _: len(bomb),
            digest=lambda _: digest_of(bomb),
            compression=lambda _: "zstd",
            expanded_bytes=lambda _: 900_000,
        )
        result = self.send(sample, wire_form.write(message))

        with pytest.raises(PayloadCorruptError, match="does not expand to the 900000 bytes"):
            result.get(timeout=30)
        assert max(child.memory_info().rss for child in sample.running.children()) < 400_000_000

    @pytest.mark.parametrize("garbage", [b"garbage", b"\x93\x02\xc4\x00\xc4\x00", b"\x00" * 5_000])
    def test_garbage(self, sample, garbage):
        """A body that is no claim at all is a recorded failure, and the worker goes on."""
        with pytest.raises(ClaimError, match="claim rejected"):
            self.send(sample, garbage).get(timeout=30)
        assert sample.add.delay(1, 2).get(timeout=30) == 3


@pytest.mark.parametrize(
    ("accept", "expected"),
    [(["json"], "ContentDisallowed"), (["json", "claimcheck"], "claimcheck is not configured")],
)
def test_a_worker_without_the_serializer_configured(sample_of, moto_aws, accept, expected):
    """A worker without ``install`` runs no claimed task, logs why, and keeps the payload."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
    result = sample.digest.delay(1)
    del sample.environment["SHOP_STORE"]
    sample.environment["SHOP_CONF"] = f'{{"accept_content": {accept}}}'.replace("'", '"')
    worker = sample.worker(pool="solo")

    eventually(lambda: expected in worker.text())
    assert len(sample.objects()) == 1
    assert result.state in {"PENDING", "FAILURE"}


def test_the_error_survives_its_way_to_the_caller(sample):
    """An argument that cannot be serialised is named by path and type, and nothing is sent."""
    with pytest.raises(EncodeError, match=r"path=\[0\]\[0\]\['rows'\]\[1\], type=_io.BytesIO"):
        sample.digest.delay({"rows": [1, io.BytesIO()]})
    assert sample.objects() == []
