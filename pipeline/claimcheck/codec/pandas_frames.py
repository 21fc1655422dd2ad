"""Frames and series of pandas."""

from typing import Any

import pandas as pd
import pyarrow as pa

_ONLY = "value"
"""Name of a series' column."""


def table_of(value: Any) -> tuple[pa.Table, dict[str, Any]]:
    """Return a table, and what it does not keep: the frequency of the index, and the name of a series.

    Raises:
        ValueError, TypeError: some column, index or name has Python objects.
    """
    about = {"freq": getattr(value.index, "freqstr", None)}
    if isinstance(value, pd.Series):
        if not isinstance(value.name, str | int | None):
            raise TypeError("a name that is neither text nor number")
        about["name"] = value.name
        value = value.to_frame(_ONLY)
    levels = [value.index.get_level_values(level) for level in range(value.index.nlevels)]
    if any(
        dtype.kind == "O" and dtype.name == "object"
        for dtype in [*value.dtypes, *(level.dtype for level in levels)]
    ):
        raise ValueError("Python objects")
    return pa.Table.from_pandas(value, preserve_index=None), about


def value_of(kind: str, table: pa.Table, about: Any) -> Any:
    """Return what ``table_of`` was given."""
    frame = table.to_pandas()
    if about["freq"] is not None:
        frame.index.freq = about["freq"]
    return frame[_ONLY].rename(about["name"]) if kind == "Series" else frame


def is_same(back: Any, value: Any) -> bool:
    """Say whether two values are equal, with dtypes, index, labels and attributes; NaN is the same as NaN."""
    return (
        back.equals(value)
        and _dtypes(back) == _dtypes(value)
        and all(mine.identical(other) for mine, other in zip(back.axes, value.axes, strict=True))
        and type(back.index) is type(value.index)
        and getattr(back.index, "freq", None) == getattr(value.index, "freq", None)
        and back.attrs == value.attrs
        and back.flags.allows_duplicate_labels == value.flags.allows_duplicate_labels
        and getattr(back, "name", None) == getattr(value, "name", None)
    )


def _dtypes(value: Any) -> list[Any]:
    return list(value.dtypes) if isinstance(value, pd.DataFrame) else [value.dtype]
