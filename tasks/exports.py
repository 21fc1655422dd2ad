"""Exports: a CSV file of payments that is larger than memory, read row by row from its handle.

The columns are ``currency`` (three capital letters), ``amount`` (a decimal) and any others.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from io import TextIOWrapper
from tempfile import TemporaryFile
from typing import IO, Any

from celery import shared_task

import pipeline
from tasks.tables import READERS

_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)

Row = dict[str | Any, Any]


@shared_task(
    name="exports.add_up_payments", autoretry_for=(pipeline.StoreUnavailableError,), retry_backoff=True
)
def add_up_payments(export: pipeline.Handle) -> dict[str, Any]:
    """Add up the payments of a CSV file by currency, in memory that does not grow with the file.

    Rows that cannot be read go into a file of their own: the same columns, and ``reason``. Whoever asked for
    the result deletes both files when they are done with; or the TTL of their handles does.

    Args:
        export: the file, in UTF-8 with a header row.

    Returns:
        ::

            {"rows": int, "totals": {currency: Decimal},
             "rejected": {"count": int, "file": handle of a CSV file | None}}

    Raises:
        ValueError: the file has no ``currency`` and ``amount`` column, or is not UTF-8.
        csv.Error: the file is no CSV.
    """
    with TextIOWrapper(export.open(), "utf-8-sig", newline="") as lines, TemporaryFile() as rejected:
        reader = csv.DictReader(lines)
        names = list(reader.fieldnames or [])
        if not {"currency", "amount"} <= set(names):
            raise ValueError("the file has no columns currency and amount")
        totals: defaultdict[str, Decimal] = defaultdict(Decimal)
        count = _write_rejected(rejected, names, _rejections(reader, totals))
        return {
            "rows": reader.line_num - 1,
            "totals": dict(totals),
            "rejected": {"count": count, "file": _stored(rejected) if count else None},
        }


@shared_task(
    name="exports.add_up_upload", autoretry_for=(pipeline.StoreUnavailableError,), retry_backoff=True
)
def add_up_upload(export: pipeline.Handle, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Add up a file that somebody has uploaded; see :func:`add_up_payments`.

    Args:
        export: the file.
        event: what S3 says of it.
    """
    added: dict[str, Any] = add_up_payments(export)
    return added


def _rejections(rows: Iterator[Row], totals: defaultdict[str, Decimal]) -> Iterator[Row]:
    """Add each row to the totals, and yield those that cannot be read, with the reason."""
    for row in rows:
        try:
            currency, amount = _payment(row)
        except ValueError as reason:
            yield {**row, "reason": str(reason)}
        else:
            totals[currency] += amount


def _payment(row: Row) -> tuple[str, Decimal]:
    """Return currency and amount of a row.

    Raises:
        ValueError: the row has none; the message says why, without a cell's text.
    """
    if None in row or None in row.values():
        raise ValueError("another number of cells than the header")
    if not _CURRENCY.fullmatch(row["currency"]):
        raise ValueError("not a currency")
    try:
        return row["currency"], READERS["decimal"](row["amount"].strip())
    except ValueError:
        raise ValueError("not an amount") from None


def _write_rejected(file: IO[bytes], names: list[str], rows: Iterator[Row]) -> int:
    """Write the rejected rows as CSV, and return their number."""
    text = TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.DictWriter(text, [*names, "reason"], restval="", extrasaction="ignore")
    writer.writeheader()
    count = sum(1 for row in rows if writer.writerow(row))
    text.detach()
    return count


def _stored(file: IO[bytes]) -> pipeline.Handle:
    file.seek(0)
    return pipeline.put(file, name="rejected.csv")
