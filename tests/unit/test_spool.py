"""Files of payloads that were read ahead: taken once, bounded, and gone when nobody comes."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO

import pytest

from pipeline.claimcheck import spool as spools
from pipeline.claimcheck.claim import Claim, digest_of
from pipeline.claimcheck.spool import KEEP_SECONDS, PREFIX, Spool
from pipeline.errors import StoreUnavailableError
from pipeline.worker.read_ahead.records import ASKED, STARTED, record, records

DATA = b"x" * 100
PIPE_BUF = 4_096


def claim(key="claims/v1/ab/one", data=DATA, offset=None):
    return Claim(
        store="default",
        key=key,
        size_bytes=len(data),
        digest=digest_of(data),
        codec="msgpack",
        compression="none",
        expanded_bytes=len(data),
        created=datetime.now(UTC),
        offset=offset,
    )


@pytest.fixture
def spool(tmp_path):
    made = Spool()
    made.open(str(tmp_path))
    yield made
    made.close()


def test_a_payload_is_taken_once(spool):
    """An attempt removes the file that it takes; the next reads the store."""
    assert spool.put(claim(), lambda: DATA, 1_000)

    assert spool.take(claim()) == DATA
    assert spool.take(claim()) is None
    assert list(spool.directory.iterdir()) == []


def test_ranges_of_one_pack_are_different_files(spool):
    """What is in a pack is told apart by where it begins."""
    spool.put(claim(offset=0), lambda: DATA, 1_000)
    spool.put(claim(offset=100), lambda: b"y" * 100, 1_000)

    assert spool.take(claim(offset=100)) == b"y" * 100
    assert spool.take(claim(offset=0)) == DATA


def test_a_worker_that_reads_nothing_ahead_looks_for_nothing():
    """Where no directory was opened, there is nothing to take."""
    assert Spool().take(claim()) is None
    assert not Spool().put(claim(), lambda: DATA, 1_000)


def test_all_files_together_stay_below_the_limit(spool):
    """A payload that would be too much is not read; once another was taken, it is."""
    assert spool.put(claim("claims/one"), lambda: DATA, 150)
    assert not spool.put(claim("claims/two"), pytest.fail, 150)
    spool.take(claim("claims/one"))

    assert spool.put(claim("claims/two"), lambda: DATA, 150)


def test_what_is_being_read_counts(spool):
    """A payload takes its room from the moment at which it is asked for."""

    def read():
        assert not spool.put(claim("claims/two"), pytest.fail, 150)
        return DATA

    assert spool.put(claim("claims/one"), read, 150)


@pytest.mark.parametrize("error", [StoreUnavailableError("store unavailable"), ValueError("x")])
def test_a_read_that_fails_leaves_nothing(spool, error):
    """The attempt reads the store itself, and reports what is wrong."""

    def read():
        raise error

    assert not spool.put(claim(), read, 1_000)
    assert list(spool.directory.iterdir()) == []
    assert spool.take(claim()) is None


def test_an_attempt_waits_for_a_file_that_is_being_written(spool):
    """It does not read what another process is reading."""
    is_reading, goes_on = threading.Event(), threading.Event()

    def read():
        is_reading.set()
        assert goes_on.wait(30)
        return DATA

    with ThreadPoolExecutor() as threads:
        threads.submit(spool.put, claim(), read, 1_000)
        assert is_reading.wait(30)
        taken = threads.submit(spool.take, claim())
        assert not taken.done()
        goes_on.set()

        assert taken.result(30) == DATA


def test_an_attempt_does_not_wait_for_long(spool, monkeypatch):
    """The process that wrote a file may have been killed."""
    monkeypatch.setattr(spools, "WAIT_SECONDS", 0.01)
    part = spool._path(claim(), spools.PART)
    part.touch()

    assert spool.take(claim()) is None


def test_files_that_nobody_takes_are_removed(spool):
    """A message that was revoked while it waited has no attempt."""
    spool.put(claim(), lambda: DATA, 1_000)
    (file,) = spool.directory.iterdir()
    written = file.stat().st_mtime
    spool.expire(written + KEEP_SECONDS - 1)
    assert file.exists()
    spool.expire(written + KEEP_SECONDS + 1)

    assert not file.exists()


def test_directories_of_killed_workers_are_removed(tmp_path):
    """A worker removes what another left that has no process any more, and nothing else."""
    alive, living = Spool(), Spool()
    dead, other, new = (tmp_path / name for name in (f"{PREFIX}dead", "other", f"{PREFIX}new"))
    for each in (dead, other, alive.open(str(tmp_path))):
        each.mkdir(exist_ok=True)
        (each / "file").touch()
        os.utime(each, (0, 0))
    new.mkdir()
    living.open(str(tmp_path))

    assert not dead.exists()
    assert {alive.directory, living.directory, other, new} == set(tmp_path.iterdir())
    alive.close()
    living.close()


def test_a_directory_stays_while_one_process_of_its_worker_runs(tmp_path):
    """Children go on for a while when the main process is killed, and take what was read."""
    main, others = Spool(), [Spool(), Spool()]
    directory = main.open(str(tmp_path))
    os.utime(directory, (0, 0))
    child = os.dup(main._held)  # a forked one has it
    os.close(main._held)
    others[0].open(str(tmp_path))
    assert directory.exists()

    os.close(child)
    others[1].open(str(tmp_path))
    assert not directory.exists()
    for each in others:
        each.close()


def test_only_this_user_reads_what_is_there(spool):
    """Payloads are as secret on the worker's disk as in the bucket."""
    spool.put(claim(), lambda: DATA, 1_000)
    (file,) = spool.directory.iterdir()

    assert file.stat().st_mode & 0o777 == 0o600
    assert spool.directory.stat().st_mode & 0o777 == 0o700


def test_orders_cross_the_pipe_whole():
    """A record with the longest key is below what a pipe takes at once, and is read as it was written."""
    written = [(ASKED, claim("k" * 1_024, offset=5)), (STARTED, claim())]
    stream = b"".join(record(*each) for each in written)

    assert list(records(BytesIO(stream))) == written
    assert max(len(record(*each)) for each in written) < PIPE_BUF
