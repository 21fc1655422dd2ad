"""The files that the demo uploads, with what is expected of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

NOTE = "a payment with a note that makes the file long and its rows few"


@dataclass(frozen=True, slots=True)
class File:
    """One file of the demo."""

    name: str
    media_type: str
    content: bytes = field(repr=False)
    expected: str
    """State of its task, or the status with which the gateway rejects it."""
    totals: Mapping[str, str] | None = None


def files() -> Iterator[File]:
    """Yield the files: a small one, one in parts, one that is no export, and one of another media type."""
    yield _export("payments, March.csv", rows=500)
    yield _export("payments-of-a-year.csv", rows=250_000)
    yield File("empty columns.csv", "text/csv", b"a,b\n1,2\n", "FAILURE")
    yield File("holiday.png", "image/png", b"\x89PNG", "422")


def _export(name: str, rows: int) -> File:
    """Return a file of payments, and their totals."""
    lines = [f"{number},{('EUR', 'USD')[number % 2]},{number % 100}.50,{NOTE}" for number in range(rows)]
    totals = {"EUR": Decimal(0), "USD": Decimal(0)}
    for number in range(rows):
        totals[("EUR", "USD")[number % 2]] += Decimal(number % 100) + Decimal("0.50")
    content = "\n".join(["id,currency,amount,note", *lines, ""]).encode()
    return File(name, "text/csv", content, "SUCCESS", {name: str(total) for name, total in totals.items()})
