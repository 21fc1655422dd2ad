"""Files of a ``file://`` store can be read by their owner alone."""

import os

import pytest

from pipeline.claimcheck.keys import new_key
from pipeline.stores.file.store import FileStore


@pytest.fixture(params=[0o000, 0o022])
def umask(request):
    """A umask that lets everybody read, and the usual one."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(directory):
    """Return the modes of all files, and of all directories, below a directory and of itself."""
    found = [directory, *directory.rglob("*")]
    files = {path.stat().st_mode & 0o777 for path in found if path.is_file()}
    return files, {path.stat().st_mode & 0o777 for path in found if path.is_dir()}


@pytest.mark.usefixtures("umask")
def test_what_a_store_makes_is_its_owners(tmp_path):
    """Payloads, records, their lock and all directories are private to one user, under every umask."""
    store = FileStore(tmp_path / "a" / "b", "claims")
    store.put(new_key("claims"), b"payload", {})
    store.records().write("claims/once/v1/a", b"record", None)

    assert modes(tmp_path / "a") == ({0o600}, {0o700})


def test_a_directory_that_is_there_keeps_its_mode(tmp_path):
    """A directory that exists already keeps its permissions."""
    (tmp_path / "payloads").mkdir(0o750)
    FileStore(tmp_path / "payloads").put(new_key(""), b"payload", {})

    assert (tmp_path / "payloads").stat().st_mode & 0o777 == 0o750
