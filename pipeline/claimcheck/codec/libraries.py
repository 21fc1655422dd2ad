"""Values of numpy, pandas, polars and pyarrow. Each is an extra of this package, imported when needed."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from pipeline.claimcheck.codec import arrow_tables, numpy_arrays
from pipeline.claimcheck.codec.unwritable import Unwritable
from pipeline.errors import ClaimError

READERS: Mapping[str, Callable[[Any, Sequence[memoryview]], Any]] = {
    numpy_arrays.ARRAY: numpy_arrays.array,
    numpy_arrays.SCALAR: numpy_arrays.scalar,
    arrow_tables.NAME: arrow_tables.table,
}
"""How content becomes a value again, by name, where a task runs: it may be large."""


_REMEDY = "convert what is a Python object, a record or a long double; docs/reference/types.md has the types"


def written(value: Any) -> tuple[str, list[Any]] | None:
    """Return the name and content of what stands for a value; None if it is of no such library.

    Raises:
        Unwritable: it would not come back equal, or the extra is missing.
    """
    library = type(value).__module__.partition(".")[0]
    try:
        return numpy_arrays.written(value) if library == "numpy" else arrow_tables.written(value)
    except ImportError as exc:
        why = f"{exc.name} is not installed"
        raise Unwritable(value, why, f"install the extra {_pip(library)}") from exc
    except Exception as exc:  # pyarrow's errors are of many classes
        raise Unwritable(value, "it would not come back equal", _REMEDY) from exc


def description(value: Any) -> str | None:
    """Return a text that stands for an array or table where JSON is written; None for any other value."""
    kind = type(value)
    if kind.__module__.partition(".")[0] not in {"numpy", *arrow_tables.KINDS}:
        return None
    return (
        None if isinstance(value, str | bytes | float | date) else f"<{kind.__module__}.{kind.__qualname__}>"
    )


def restored(name: str, content: Any, beside: Sequence[memoryview]) -> Any:
    """Return the value that ``written`` wrote, in the process that executes the task.

    Raises:
        ClaimError: its library is not installed here.
        Exception: the content is none; of any class.
    """
    try:
        return READERS[name](content, beside)
    except ImportError as exc:
        library = content[0] if name == arrow_tables.NAME else "numpy"
        raise ClaimError(
            f"payload not decoded: it has a value of {library}, and {exc.name} is not installed here; "
            f"install the extra {_pip(library)} for this worker, and send the message again"
        ) from exc


def _pip(library: str) -> str:
    return f"'celery-claimcheck-pipeline[{library}]'"
