"""Samples: realistic input for every task, the same for the same seed."""

import csv
import io
import random
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

CSV_SCHEMA = {
    "order": "int",
    "ordered_on": "date",
    "shipped_at": "datetime?",
    "price": "decimal",
    "gift": "bool",
    "comment": "str",
}
"""Schema of ``sample_csv``, except for its bad rows."""
BAD_ROW_EVERY = 1_000
"""One row in so many of a sample table is bad; the first one is row 8."""

_FIRST_BAD_ROW = 8
_OPENING = datetime(2024, 1, 1, 8, tzinfo=UTC)
_YEAR_SECONDS = 365 * 24 * 60 * 60
_REGIONS = ("Norden", "Île-de-France", "Südtirol", "Łódzkie", "Ελλάδα", "関東")
_STORES_PER_REGION = 5
_CUSTOMERS = ("Åsa Öberg", "Jo Smith", "Zoë Núñez", "Li Wei", "Łukasz", "Σοφία", "Anna Berg")
_PRODUCTS = ("Tea", "Crème", "Rug", "Lamp", "Bröd", "Mug", "Desk", "Stół", "Bowl", "Pen", "Vase")
_COMMENTS = ("", "at the door", 'says "thanks"', "two lines:\nring, wait", "für Zoë; fragile")
_WORDS = ("the", "order", "left", "our", "depot", "in", "Malmö", "at", "noon", "över", "natten")
_WORD_BYTES = 5


def sample_report(records: int, seed: int = 0) -> dict[str, Any]:
    """Make a report of so many good records, the input of ``reports.summarise``."""
    rng = _rng(seed)
    regions = [_region(name) for name in _REGIONS]
    stores = [store for region in regions for store in region["stores"]]
    for index in range(records):
        stores[index % len(stores)]["records"].append(_record(rng))
    return {"currency": "EUR", "regions": regions}


def sample_csv(rows: int, seed: int = 0) -> bytes:
    """Make a UTF-8 table of so many rows after ``CSV_SCHEMA``, with a few bad ones among them."""
    rng = _rng(seed)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_SCHEMA)
    for number in range(1, rows + 1):
        writer.writerow(_row(rng, number))
    return text.getvalue().encode()


def sample_archive(files: int, seed: int = 0) -> bytes:
    """Make a zip of so many files, nine in ten of them text of 10 to 100 kB."""
    rng = _rng(seed)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for number in range(files):
            name, content = _file(rng, number)
            # A ZipInfo of its own: writestr() by name would record the time of day.
            opened.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def _rng(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 -- samples must repeat, and guard nothing


def _region(name: str) -> dict[str, Any]:
    numbers = range(1, _STORES_PER_REGION + 1)
    return {"region": name, "stores": [{"store": f"{name} {i}", "records": []} for i in numbers]}


def _record(rng: random.Random) -> dict[str, Any]:
    lines = [_line(rng) for _ in range(1 if rng.random() < 0.9 else 3)]
    return {
        "sold_at": _random_time(rng),
        "customer": rng.choice(_CUSTOMERS),
        "amount": sum((line["quantity"] * line["price"] for line in lines), start=Decimal("0.00")),
        "lines": lines,
    }


def _line(rng: random.Random) -> dict[str, Any]:
    return {
        "product": rng.choice(_PRODUCTS),
        "quantity": rng.randrange(1, 6),
        "price": _price(rng),
    }


def _random_time(rng: random.Random) -> datetime:
    return _OPENING + timedelta(seconds=rng.randrange(_YEAR_SECONDS))


def _price(rng: random.Random) -> Decimal:
    return Decimal(rng.randrange(100, 20_000)).scaleb(-2)


def _row(rng: random.Random, number: int) -> list[str]:
    ordered = _random_time(rng)
    shipped = ordered + timedelta(hours=rng.randrange(1, 72))
    row = [
        str(number),
        ordered.date().isoformat(),
        shipped.isoformat() if rng.random() < 0.9 else "",
        str(_price(rng)),
        rng.choice(("yes", "no")),
        rng.choice(_COMMENTS),
    ]
    turn, place = divmod(number, BAD_ROW_EVERY)
    return _SPOILERS[turn % len(_SPOILERS)](row) if place == _FIRST_BAD_ROW else row


_SPOILERS: tuple[Callable[[list[str]], list[str]], ...] = (
    lambda row: ["n/a", *row[1:]],
    lambda row: [row[0], "2024-02-30", *row[2:]],
    lambda row: row[:-1],
    lambda row: [*row, "?"],
    lambda row: [*row[:3], "", *row[4:]],
)
"""Errors of the bad rows, in turn: no number, no such day, a cell short, one over, one empty."""


def _file(rng: random.Random, number: int) -> tuple[str, bytes]:
    size_bytes = rng.randrange(10_000, 100_000)
    if number % 10 == 9:
        return f"scans/{number:05}.png", rng.randbytes(size_bytes)
    suffix = rng.choice(("txt", "md", "log"))
    words = rng.choices(_WORDS, k=size_bytes // _WORD_BYTES)
    return f"letters/{number % 12:02}/{number:05}.{suffix}", " ".join(words).encode()
