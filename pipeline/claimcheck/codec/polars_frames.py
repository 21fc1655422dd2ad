"""Frames and series of polars."""

from typing import Any

import polars as pl
import pyarrow as pa

_ONLY = "value"
"""Name of a series' column."""


def table_of(value: Any) -> tuple[pa.Table, str | None]:
    """Return a table, and the name of a series.

    Raises:
        ValueError: some column has Python objects.
    """
    name = value.name if isinstance(value, pl.Series) else None
    frame = value.to_frame(_ONLY) if isinstance(value, pl.Series) else value
    if pl.Object in frame.dtypes:
        raise ValueError("Python objects")
    return frame.to_arrow(), name


def value_of(kind: str, table: pa.Table, about: Any) -> Any:
    """Return what ``table_of`` was given."""
    frame: Any = pl.from_arrow(table)
    return frame.to_series().rename(about) if kind == "Series" else frame


def is_same(back: Any, value: Any) -> bool:
    """Say whether two values are equal, with types and names; null and NaN are the same as themselves."""
    if isinstance(value, pl.Series):
        return (
            back.dtype == value.dtype
            and back.name == value.name
            and bool(back.equals(value, check_dtypes=True))
        )
    return bool(back.schema == value.schema and back.equals(value))
