"""Tables in plain text."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pipeline.errors import printable
from pipeline.telemetry.sizes import size

_NUMBER = re.compile(r"-|[\d,.]+( bytes?| [KMGT]iB)?")


def table(rows: Iterable[Sequence[Any]]) -> str:
    """Lay rows out in columns, numbers right-aligned; a row of empty strings is an empty line."""
    cells = [
        [_text(cell) for cell in row] if any(cell != "" for cell in row) else [""] * len(row) for row in rows
    ]
    columns = [_aligned(column) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def readable(name: str, value: Any) -> Any:
    """Format a value by its name: bytes get a unit."""
    return size(value) if name.endswith("_bytes") and isinstance(value, int) else value


def _aligned(column: Sequence[str]) -> list[str]:
    wide = max(map(len, column))
    numbers = column[1:] and all(_NUMBER.fullmatch(cell) for cell in column[1:])
    return [cell.rjust(wide) if numbers else cell.ljust(wide) for cell in column]


def _text(cell: Any) -> str:
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S}Z"
    return f"{cell:,}" if isinstance(cell, int) else printable(str(cell))
