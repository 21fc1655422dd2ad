"""Exports: payments are added up as the file streams, and what cannot be read is a file of its own."""

import csv
import io
from decimal import Decimal

import pytest

import pipeline
from pipeline.claimcheck.handles.source import RANGE_BYTES
from tasks.exports import add_up_payments


def add_up(text):
    return add_up_payments(pipeline.put(text.encode(), name="payments.csv"))


def test_payments_are_added_up_by_currency(claimcheck):
    """Amounts are exact, columns are found by name, and further columns do not matter."""
    found = add_up("\ufeffid,amount,currency\n1,0.10,EUR\n2,0.20,EUR\n3, -7 ,USD\n")

    assert found == {
        "rows": 3,
        "totals": {"EUR": Decimal("0.30"), "USD": Decimal(-7)},
        "rejected": {"count": 0, "file": None},
    }


def test_what_cannot_be_read_is_a_file_of_its_own(claimcheck):
    """Rejected rows keep their cells and get a reason; the others count."""
    found = add_up("currency,amount\nEUR,1\neuro,2\nEUR,x\nEUR\nEUR,1,2\n")["rejected"]
    with io.TextIOWrapper(found["file"].open(), newline="") as text:
        rows = list(csv.DictReader(text))

    assert found["count"] == 4
    assert found["file"].name == "rejected.csv"
    assert [row["reason"] for row in rows] == [
        "not a currency",
        "not an amount",
        *["another number of cells than the header"] * 2,
    ]
    assert [row["currency"] for row in rows] == ["euro", "EUR", "EUR", "EUR"]


@pytest.mark.parametrize("text", ["", "currency\nEUR\n", "1,2\n"])
def test_a_file_without_the_columns(claimcheck, text):
    """A file of another kind is an error, and not a result of nothing."""
    with pytest.raises(ValueError, match="no columns currency and amount"):
        add_up(text)


def test_a_large_file_is_read_in_ranges(claimcheck, store):
    """The file is never in memory as a whole."""
    row = f"EUR,1,{'x' * 1_000}\n"
    rows = 3 * RANGE_BYTES // len(row) + 1
    found = add_up("currency,amount,note\n" + row * rows)

    assert found["totals"] == {"EUR": Decimal(rows)}
    assert store.calls["get"] == 0
    assert store.calls["get_range"] >= 4
