"""A worker reads payloads of waiting messages ahead: elsewhere, each once, and leaves no file."""

import random
import signal
from hashlib import sha256

import psutil
import pytest
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

PAYLOADS = [random.Random(seed).randbytes(20_000) for seed in range(3)]


@pytest.fixture
def spool(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def sample(sample_of, moto_aws, proxy, spool):
    """Return what makes a sample where everything goes through the store, and a worker reads ahead."""
    store = f"s3://{moto_aws.bucket()}/claims"
    options = {"threshold_bytes": 0, "read_ahead_bytes": 1_000_000, "read_ahead_directory": str(spool)}
    return lambda **conf: sample_of(
        store=store, options=options, conf={"worker_prefetch_multiplier": 4} | conf
    )


def read_ahead(spool):
    return [each for each in spool.rglob("*") if each.is_file() and not each.suffix]


def waiting(sample, spool):
    """Let a task run that ends when a note says so, and others wait behind it; their payloads are read."""
    held = sample.hold.delay(b"held")
    eventually(lambda: "holding" in sample.notes())
    results = [sample.digest_bytes.delay(each) for each in PAYLOADS]
    eventually(lambda: len(read_ahead(spool)) == len(PAYLOADS))
    return held, results


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_payloads_of_waiting_messages_are_read_once_and_elsewhere(sample, proxy, spool, method):
    """Neither the main process nor a child of the pool reads them, and children of both kinds take them."""
    made = sample(worker_pool_start_method=method)
    worker = made.worker(concurrency=1)
    proxy.requests.clear()
    held, results = waiting(made, spool)
    *_, modes = [
        (each.stat().st_mode & 0o777, each.parent.stat().st_mode & 0o777) for each in read_ahead(spool)
    ]
    made.note("go on")

    assert held.get(timeout=30) == 4
    assert [each.get(timeout=30) for each in results] == [[20_000, sha256(it).hexdigest()] for it in PAYLOADS]
    made.eventually_empty()
    pids = [request.pid for request in proxy.seen("GetObject")]
    assert len(pids) == 4
    assert len(set(pids[1:])) == 1
    assert not {worker.pid, pids[0]} & set(pids[1:])
    assert modes == (0o600, 0o700)
    assert read_ahead(spool) == []
    worker.stop()
    assert list(spool.iterdir()) == []


def test_a_payload_that_was_changed_on_disk_is_read_from_the_store(sample, proxy, spool):
    """A file whose digest is not that of the claim counts as none."""
    made = sample()
    made.worker(concurrency=1)
    proxy.requests.clear()
    _, results = waiting(made, spool)
    for each in read_ahead(spool):
        each.write_bytes(each.read_bytes()[:-1] + b"?")
    made.note("go on")

    assert [each.get(timeout=30) for each in results] == [[20_000, sha256(it).hexdigest()] for it in PAYLOADS]
    assert proxy.operations["GetObject"] == 4 + len(PAYLOADS)
    made.eventually_empty()


def test_a_worker_goes_on_without_the_process_that_reads_ahead(sample, proxy, spool):
    """If it is killed, children read the store as if nothing were read ahead."""
    made = sample()
    worker = made.worker(concurrency=1)
    made.digest_bytes.delay(PAYLOADS[0]).get(timeout=30)
    child = proxy.seen("GetObject")[-1].pid
    (reader,) = [each for each in worker.children() if each.pid != child]
    reader.kill()
    held = made.hold.delay(b"held")
    eventually(lambda: "holding" in made.notes())
    results = [made.digest_bytes.delay(each) for each in PAYLOADS]
    made.note("go on")

    assert held.get(timeout=30) == 4
    assert [each.get(timeout=30)[0] for each in results] == [20_000] * len(PAYLOADS)
    assert read_ahead(spool) == []
    made.eventually_empty()


def test_nothing_is_left_of_a_worker_that_was_killed(sample, spool):
    """The process that reads ahead removes the files of a main process that was killed, and ends."""
    made = sample()
    worker = made.worker(concurrency=1)
    waiting(made, spool)
    family = worker.children()
    worker.process.send_signal(signal.SIGKILL)

    eventually(lambda: list(spool.iterdir()) == [])
    _, alive = psutil.wait_procs(family, 30)
    assert alive == []


def test_a_worker_does_not_start_without_a_place(sample, spool, tmp_path):
    """A directory that is not there ends the worker with a sentence that names the setting."""
    made = sample()
    spool.rmdir()

    with pytest.raises(
        AssertionError, match=r"claimcheck: read_ahead_directory=.* \(No such file or directory\)"
    ):
        made.worker(concurrency=1)
