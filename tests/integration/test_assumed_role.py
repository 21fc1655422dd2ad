"""Workers that reach SQS as a role: its credentials expire while a task runs, and are renewed."""

import time
from threading import Lock
from uuid import uuid4

import pytest
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

GOOD_SECONDS = 5
"""How long credentials are good here. STS says 900 at least, so what stands for SQS ends them early."""
THROTTLED = (
    b"<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>"
)
EXPIRED = b'{"__type":"ExpiredToken","message":"The security token included in the request is expired"}'


class Gate:
    """Denies calls of SQS that are signed with a role's credentials that it saw first too long ago."""

    def __init__(self):
        self._lock, self._seen = Lock(), {}
        self.denied = 0

    def __call__(self, request):
        if "x-amz-security-token" not in request.headers:
            return False
        with self._lock:
            first = self._seen.setdefault(request.headers["authorization"].split("/")[0], time.monotonic())
        is_over = time.monotonic() - first > GOOD_SECONDS + 1
        self.denied += is_over
        return is_over

    @property
    def keys(self):
        """How many credentials were used."""
        return len(self._seen)


@pytest.fixture
def gate(moto_aws, proxy_to, monkeypatch):
    """What stands before SQS, of which a worker's processes know."""
    sqs, gate = proxy_to(moto_aws.url), Gate()
    sqs.fail(gate, status=403, content=EXPIRED)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", sqs.url)
    return gate


def sample_as_role(sample_of, aws, *names, seconds):
    queues = {name: {"url": aws.queue(name, VisibilityTimeout=seconds)} for name in names}
    options = {
        "predefined_queues": queues,
        "visibility_timeout": seconds,
        "wait_time_seconds": 1,
        "sts_role_arn": "arn:aws:iam::123456789012:role/shop",
        "sts_token_buffer_time": 900 - GOOD_SECONDS,
    }
    conf = {
        "broker_transport_options": options,
        "task_default_queue": names[0],
        "worker_prefetch_multiplier": 1,
    }
    return sample_of(store=f"s3://{aws.bucket()}/claims", options={"threshold_bytes": 0}, conf=conf)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_long_task_keeps_its_message(sample_of, moto_aws, gate, pool):
    """While one task runs nothing is received, and the heartbeat renews the credentials that it needs."""
    first, second = (f"{pool}-{uuid4().hex[:12]}" for _ in range(2))
    sample = sample_as_role(sample_of, moto_aws, first, second, seconds=6)
    worker = sample.worker(pool=pool, concurrency=1, options=("-Q", f"{first},{second}"))
    results = [
        sample.nap.apply_async((b"x", 20), queue=first),
        sample.nap.apply_async((b"x", 0), queue=second),
    ]

    assert [result.get(timeout=90) for result in results]
    eventually(lambda: sample.notes() == ["napping"] * 2)
    sample.eventually_empty()
    assert gate.keys > 4
    assert gate.denied == 0, worker.text()


def test_a_task_ends_while_sts_denies(sample_of, moto_aws, proxy_to, gate, monkeypatch):
    """Its message is deleted as soon as there are credentials again, and the worker lives."""
    sts, queue = proxy_to(moto_aws.url), f"sts-{uuid4().hex[:12]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    sample = sample_as_role(sample_of, moto_aws, queue, seconds=60)
    sample.environment["AWS_MAX_ATTEMPTS"] = "1"
    worker = sample.worker(pool="threads", concurrency=1)
    result = sample.nap.delay(b"x", 8)
    eventually(sample.notes)
    throttled = sts.fail(status=400, content=THROTTLED)

    assert result.get(timeout=60) == 1
    used = throttled.used
    eventually(lambda: throttled.used > used + 2)
    sts.heal()
    sample.eventually_empty()
    assert sample.notes() == ["napping"]
    assert worker.process.poll() is None
