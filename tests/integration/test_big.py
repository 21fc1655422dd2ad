"""The big proofs: hundreds of megabytes, a thousand mixed payloads, and a main process that stays small."""

import math
import random
import threading

import pytest
from sample_fixtures import entered

from tasks.samples import sample_report

pytestmark = [pytest.mark.aws, pytest.mark.worker, pytest.mark.slow, pytest.mark.timeout(600)]

MEGABYTE = 1_000_000
TASKS = 1_000


class Memory:
    """Samples the resident memory of a worker's main process on a thread."""

    def __init__(self, worker):
        self.first = self.most = worker.rss_bytes()
        self._worker, self._over = worker, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self):
        while not self._over.wait(0.1):
            self.most = max(self.most, self._worker.rss_bytes())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    @property
    def growth_bytes(self):
        return self.most - self.first


@pytest.fixture
def sample(sample_of, ministack, monkeypatch):
    """A sample on the faster stand-in, with the default threshold and long timeouts."""
    bucket = entered(ministack, monkeypatch).bucket()
    conf = {
        "broker_transport_options": {"visibility_timeout": 600, "wait_time_seconds": 1, "polling_interval": 0}
    }
    return sample_of(store=f"s3://{bucket}/claims", conf=conf)


@pytest.fixture(params=["prefork", "threads"])
def worker(request, sample):
    """A worker that has run a few tasks, so that what it imports and opens once is there."""
    started = sample.worker(pool=request.param, concurrency=4)
    started.pool = request.param
    for _ in range(4):
        sample.digest_bytes.delay(b"x" * MEGABYTE).get(timeout=60)
    return started


def mixed(count, seed):
    """Yield payloads of 1 KB to 5 MB, as many small as large on a logarithmic scale, half of them noise."""
    dice = random.Random(seed)
    for number in range(count):
        size = int(1_000 * math.exp(dice.random() * math.log(5_000)))
        yield dice.randbytes(size) if number % 2 else dice.randbytes(100) * (size // 100)


def test_a_thousand_mixed_tasks(sample, worker):
    """Payloads of 1 KB to 5 MB all arrive, none is left, and main does not grow with them."""
    with Memory(worker) as memory:
        started = [
            (sample.digest_bytes.delay(payload), sample.digest_bytes.run(payload))
            for payload in mixed(TASKS, seed=17)
        ]
        for result, expected in started:
            assert result.get(timeout=300) == expected
        sample.eventually_empty(60)

    if worker.pool == "prefork":
        assert memory.growth_bytes < 20 * MEGABYTE


@pytest.mark.parametrize("worker", ["prefork"], indirect=True)
def test_huge_payloads(sample, worker):
    """100 MB of nested records and 200 MB of bytes arrive equal, and main does not see them."""
    report = sample_report(340_000)
    noise = random.Random(19).randbytes(200 * MEGABYTE)
    with Memory(worker) as memory:
        records, content = sample.digest.delay(report), sample.digest_bytes.delay(noise)

        assert records.get(timeout=300) == sample.fingerprint([[report], {}])
        assert content.get(timeout=300) == sample.digest_bytes.run(noise)
        sample.eventually_empty(60)

    assert memory.growth_bytes < 20 * MEGABYTE
