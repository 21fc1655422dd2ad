"""Foreign objects under a store's prefix never end a sweep, whatever their names and dates."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.admin import sweep
from pipeline.admin.sweep import Ages, Swept
from pipeline.claimcheck.keys import new_key
from pipeline.stores.file.store import FileStore
from pipeline.stores.memory import MemoryStore
from pipeline.stores.s3.store import S3Store

DIGITS = "0" * 40
AT_ONCE, A_DAY = (Ages(age, age) for age in (timedelta(0), timedelta(days=1)))
FOREIGN = [
    f"claims/v1/0a/2026/99/99/{DIGITS}",
    f"claims/v1/0a/2026/02/30/{DIGITS}",
    f"claims/v1/0a/0000/01/01/{DIGITS}",
    f"claims/results/v1/0a/2026/13/01/{DIGITS}",
    f"claims/v1/0a/2026/1/1/{DIGITS}",
    f"claims/v1/0a/2026/01/01/{DIGITS}.tmp",
    f"claims/v1/0a/2026/01/01/{'Z' * 40}",
    f"claims/v1/0a/٢٠٢٦/01/01/{DIGITS}",
    "claims/v1/notes & <more>.txt",
    "claims/v1/a b+c%2Fd",
    "claims/v1/😀",
    "claims/once/v1/" + DIGITS,
]


@pytest.fixture(params=["memory", "file", "moto", "ministack"])
def store(request, tmp_path, monkeypatch):
    """Each kind of store."""
    if request.param == "memory":
        return MemoryStore("claims")
    if request.param == "file":
        return FileStore(tmp_path, "claims")
    from sample_fixtures import entered

    return S3Store(entered(request.getfixturevalue(request.param), monkeypatch).bucket(), "claims")


def test_foreign_objects_are_counted_and_skipped(store):
    """A name that we could not have made is foreign: the sweep goes on, and finds its orphan."""
    for key in FOREIGN:
        store.put(key, b"x", {})
    store.put(ours := new_key("claims", datetime.now(UTC) - timedelta(days=30)), b"payload", {})
    swept = Swept()
    found = list(sweep.orphans(store, AT_ONCE, set(), swept))

    assert [each.key for each in found] == [ours]
    assert (swept.objects, swept.foreign) == (len(FOREIGN) + 1, len(FOREIGN))


@pytest.mark.parametrize("year", [1, 1969, 9999, 60_000, 250_000])
def test_a_file_of_any_date_is_listed(tmp_path, year):
    """A file's date is anybody's to set: before or beyond what a date can be, it is listed all the same."""
    store = FileStore(tmp_path, "claims")
    store.put(key := new_key("claims"), b"payload", {})
    seconds = (year - 1970) * 365.2425 * 86_400
    try:
        os.utime(tmp_path / key, (seconds, seconds))
    except OverflowError:
        pytest.skip("no file of this system can be so old or new")

    assert [each.key for each in store.list()] == [key]
    list(sweep.orphans(store, A_DAY, set(), Swept()))


def test_a_file_with_an_undecodable_name_is_listed(tmp_path):
    """A name that is no text in any encoding is foreign too."""
    store = FileStore(tmp_path, "claims")
    store.put("claims/a", b"x", {})
    (tmp_path / "claims" / os.fsdecode(b"\xff\xfe")).write_bytes(b"x")
    swept = Swept()

    assert list(sweep.orphans(store, AT_ONCE, set(), swept)) == []
    assert swept.foreign == 2
