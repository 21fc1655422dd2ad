"""Tables: a CSV file's bytes in, typed columns and a report of its bad rows out.

A schema names the wanted columns and their types, ``{"id": "int", "paid_on": "date?"}``. The types
are those of ``READERS``; a question mark says that a cell may be empty, which reads as ``None``.
"""

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from celery import shared_task

DELIMITERS = ",;\t"
"""Possible delimiters; of equally good ones the first is used."""
REASONS_SHOWN = 100
"""Bad cells that a result explains; all bad rows are counted."""

_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_INT = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d{1,18}(\.\d{1,18})?", re.ASCII)


@shared_task(name="tables.load_csv")
def load_csv(content: bytes, schema: dict[str, str]) -> dict[str, Any]:
    """Read a CSV file with a header row into typed columns.

    Columns are found by name, in any order. The encoding is UTF-8, with or without a mark, or else
    Latin-1; the delimiter is the one of ``DELIMITERS`` under which the header shows most of the
    schema's names. A row with a bad cell is left out of every column, so columns stay in step.
    Blank lines are no rows.

    Args:
        content: the file.
        schema: type by column name, as in this module's docstring.

    Returns:
        ::

            {"encoding": "utf-8-sig" | "utf-8" | "latin-1", "delimiter": str,
             "rows": int, "columns": {name: [value, ...]},
             "missing_columns": [name], "extra_columns": int,
             "bad_rows": {"count": int,
                          "first": [{"row": int, "column": name | None, "reason": str}]}}

        ``row`` counts from 1 below the header. A ``reason`` is ``missing``, ``empty``, ``extra`` (a
        cell too many), ``unreadable`` or ``not <type>``: never the text of a cell.

    Raises:
        ValueError: the schema asks for a type that is not in ``READERS``.
    """
    text, encoding = _decode(content)
    delimiter = max(DELIMITERS, key=lambda found: len(schema.keys() & _header(_rows(text, found))))
    below = _rows(text, delimiter)
    header = _header(below)
    columns = [_column(name, wanted, header) for name, wanted in schema.items()]
    rows, bad = _read_rows(below, columns, len(header))
    return {
        "encoding": encoding,
        "delimiter": delimiter,
        "rows": len(rows),
        "columns": {column.name: [row[i] for row in rows] for i, column in enumerate(columns)},
        "missing_columns": [column.name for column in columns if column.position is None],
        "extra_columns": len([name for name in header if name not in schema]),
        "bad_rows": {"count": len({cell["row"] for cell in bad}), "first": bad[:REASONS_SHOWN]},
    }


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the schema and where the file has it."""

    name: str
    kind: str
    may_be_empty: bool
    position: int | None

    def read(self, cells: list[str]) -> Any:
        """Return this column's value in a row.

        Raises:
            ValueError: there is none; the message is the reason, without the cell's text.
        """
        text = self._text(cells)
        if not text and self.may_be_empty:
            return None
        if not text and self.kind != "str":
            raise ValueError("empty")
        try:
            return READERS[self.kind](text)
        except ValueError:
            raise ValueError(f"not {self.kind}") from None

    def _text(self, cells: list[str]) -> str:
        if self.position is None and self.may_be_empty:
            return ""
        if self.position is None or self.position >= len(cells):
            raise ValueError("missing")
        text = cells[self.position]
        return text if self.kind == "str" else text.strip()


def _column(name: str, wanted: str, header: list[str]) -> _Column:
    kind = wanted.removesuffix("?")
    if kind not in READERS:
        raise ValueError(f"unknown column type in the schema; known: {', '.join(READERS)}")
    position = header.index(name) if name in header else None
    return _Column(name, kind, wanted.endswith("?"), position)


def _decode(content: bytes) -> tuple[str, str]:
    """Return the text and the name of its encoding; Latin-1 reads any bytes, so it comes last."""
    encoding = "utf-8-sig" if content.startswith(codecs.BOM_UTF8) else "utf-8"
    try:
        return content.decode(encoding), encoding
    except UnicodeDecodeError:
        return content.removeprefix(codecs.BOM_UTF8).decode("latin-1"), "latin-1"


def _rows(text: str, delimiter: str) -> Iterator[list[str] | None]:
    """Yield the rows that are not blank; ``None`` for one that cannot be parsed."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield None
        else:
            if cells:
                yield cells


def _header(rows: Iterator[list[str] | None]) -> list[str]:
    """Take the header off the rows."""
    return [name.strip() for name in next(rows, None) or []]


def _read_rows(
    rows: Iterator[list[str] | None], columns: list[_Column], width: int
) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    """Separate the typed rows from the bad cells of the other rows."""
    good, bad = [], []
    for number, cells in enumerate(rows, start=1):
        values, reasons = _read_row(cells, columns, width)
        if reasons:
            bad += [{"row": number, "column": name, "reason": reason} for name, reason in reasons]
        else:
            good.append(values)
    return good, bad


def _read_row(
    cells: list[str] | None, columns: list[_Column], width: int
) -> tuple[list[Any], list[tuple[str | None, str]]]:
    """Return a row's values and what is wrong with it, as pairs of column name and reason."""
    if cells is None:
        return [], [(None, "unreadable")]
    values: list[Any] = []
    reasons: list[tuple[str | None, str]] = [(None, "extra")] if len(cells) > width else []
    for column in columns:
        try:
            values.append(column.read(cells))
        except ValueError as reason:
            reasons.append((column.name, str(reason)))
    return values, reasons


def _read_int(text: str) -> int:
    if not _INT.fullmatch(text):
        raise ValueError("int")
    return int(text)


def _read_decimal(text: str) -> Decimal:
    # Decimal() alone would also read "NaN", "1_0" and "1e999999".
    if not _DECIMAL.fullmatch(text):
        raise ValueError("decimal")
    return Decimal(text)


def _read_bool(text: str) -> bool:
    if text.lower() not in _BOOLS:
        raise ValueError("bool")
    return _BOOLS[text.lower()]


READERS: Mapping[str, Callable[[str], Any]] = {
    "int": _read_int,
    "decimal": _read_decimal,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "bool": _read_bool,
    "str": str,
}
"""How a cell's text becomes a value, by type, or a ``ValueError``. Dates are ISO 8601."""
