"""Arrays and scalars of numpy: their memory travels as it is. An array arrives read-only: call ``copy()``.

What has no plain memory is an error for its publisher: dtypes of objects, records and long doubles, and
subclasses of ``ndarray``.
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.claimcheck.codec import buffers

if TYPE_CHECKING:
    import numpy as np

ARRAY = "ndarray"
SCALAR = "numpy"

_DTYPE = re.compile(
    r"[<>|](?:b1|[iu][1248]|f[248]|c8|c16|[SU][1-9]\d{0,8}|[mM]8(?:\[\d{0,9}(?:[YMWDhms]|[munpfa]s)\])?)\Z",
    re.ASCII,
)
"""As numpy writes it: byte order, kind, bytes of an item, and unit. Source: NumPy, "The array interface"."""

DIMENSIONS_COUNT = 32
"""numpy 1 has no more."""


def written(value: Any) -> tuple[str, list[Any]] | None:
    """Return the name and content of what stands for an array or a scalar; None for any other value.

    Raises:
        ValueError: it has no plain memory.
    """
    import numpy as np  # noqa: PLC0415 - an extra; the value's type has imported it

    if not (type(value) is np.ndarray or isinstance(value, np.generic)):
        return None
    if not _DTYPE.match(value.dtype.str) or value.ndim > DIMENSIONS_COUNT:
        raise ValueError("no plain memory")
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    memory = np.ravel(value, order=order).view(np.uint8).data  # type: ignore[call-overload]
    name = ARRAY if type(value) is np.ndarray else SCALAR
    return name, [value.dtype.str, list(value.shape), order, buffers.named(memory)]


def array(content: Any, beside: Sequence[memoryview]) -> "np.ndarray[Any, Any]":
    """Return an array that ``written`` wrote, as a view of the payload.

    Raises:
        ValueError, TypeError: the content is none.
    """
    import numpy as np  # noqa: PLC0415 - an extra

    dtype, shape, order, name = content
    if not (isinstance(dtype, str) and _DTYPE.match(dtype) and order in {"C", "F"}):
        raise ValueError("no dtype of ours")
    if len(shape) > DIMENSIONS_COUNT or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError("no shape of ours")
    memory, kind = buffers.found(name, beside), np.dtype(dtype)
    if math.prod(shape) * kind.itemsize != memory.nbytes:
        raise ValueError("the buffer has another size")
    return np.ndarray(tuple(shape), kind, memory, order=order)


def scalar(content: Any, beside: Sequence[memoryview]) -> Any:
    """Return a scalar that ``written`` wrote.

    Raises:
        ValueError, TypeError: the content is none.
    """
    made = array(content, beside)
    if made.ndim:
        raise ValueError("no scalar")
    return made[()]
