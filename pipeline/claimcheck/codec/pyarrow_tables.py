"""Tables and record batches of pyarrow."""

from typing import Any

import pyarrow as pa


def table_of(value: Any) -> tuple[pa.Table, None]:
    """Return the table, and what else there is to know."""
    return pa.Table.from_batches([value]) if isinstance(value, pa.RecordBatch) else value, None


def value_of(kind: str, table: pa.Table, _about: Any) -> Any:
    """Return what ``table_of`` was given."""
    if kind == "Table":
        return table
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def is_same(back: Any, value: Any) -> bool:
    """Say whether two values have the same schema and rows: Arrow's stream has all that they have."""
    return bool(back.schema.equals(value.schema, check_metadata=True)) and back.num_rows == value.num_rows
