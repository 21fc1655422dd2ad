"""Samples."""

import pytest
from kombu.utils.json import dumps, loads

from tasks.archives import unpack
from tasks.reports import summarise
from tasks.samples import CSV_SCHEMA, sample_archive, sample_csv, sample_report
from tasks.tables import load_csv

every_sample = pytest.mark.parametrize("make", [sample_report, sample_csv, sample_archive])


@every_sample
def test_same_seed(make):
    """The same seed gives the same sample, independent of samples made before."""
    first = make(20, seed=7)
    make(3)

    assert make(20, seed=7) == first


@every_sample
def test_other_seed(make):
    """Another seed gives another sample."""
    assert make(20, seed=1) != make(20, seed=2)


@every_sample
def test_trip(make):
    """A sample arrives as it was sent."""
    sample = make(20)

    assert loads(dumps(sample)) == sample


@pytest.mark.parametrize("records", [0, 1, 1_000])
def test_report(records):
    """A sample report has exactly so many records, all of them good."""
    summary = summarise(sample_report(records))

    assert summary["records"] == records
    assert summary["bad_records"]["count"] == 0


def test_report_covers_a_year():
    """A sample report has every region and every month in it."""
    summary = summarise(sample_report(1_000))

    assert len(summary["regions"]) == 6
    assert len(summary["months"]) == 12


def test_size_of_a_record():
    """A record of a sample report takes 250 to 300 bytes as JSON."""
    assert 250 < len(dumps(sample_report(2_000))) / 2_000 < 300


def test_report_is_in_many_languages():
    """A sample report is not all ASCII."""
    assert not dumps(sample_report(100), ensure_ascii=False).isascii()


@pytest.mark.parametrize(("rows", "bad"), [(0, 0), (7, 0), (8, 1), (5_000, 5)])
def test_csv(rows, bad):
    """A sample table has exactly so many rows, one in a thousand of them bad."""
    result = load_csv(sample_csv(rows), CSV_SCHEMA)

    assert result["rows"] == rows - bad
    assert result["bad_rows"]["count"] == bad


def test_csv_is_bad_in_every_way():
    """The bad rows of a large enough sample have one of each reason."""
    result = load_csv(sample_csv(5_000), CSV_SCHEMA)

    assert [cell["reason"] for cell in result["bad_rows"]["first"]] == [
        "not int",
        "not date",
        "missing",
        "extra",
        "empty",
    ]


@pytest.mark.parametrize("files", [0, 1, 40])
def test_archive(files):
    """A sample archive has exactly so many files, none of them rejected."""
    result = unpack(sample_archive(files))

    assert len(result["members"]) == files
    assert result["rejected"]["count"] == 0


def test_archive_is_mostly_text():
    """Nine in ten files of a sample archive are text, so unpacking gives more than it takes."""
    archive = sample_archive(40)
    members = unpack(archive)["members"]

    assert sum(member["text"] is not None for member in members) == 36
    assert sum(member["size_bytes"] for member in members) > 2 * len(archive)
