"""Pickle, for applications that ask for it."""

import pickle
from typing import Any

from pipeline.codec.unwritable import Unwritable, step

_DEEPEST = 32


def dumps(value: Any) -> bytes:
    """Return ``value`` as a pickle.

    Raises:
        PayloadEncodeError: some part of it cannot be pickled; names its path and type.
    """
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as exc:  # __reduce__ is the application's code: it may raise anything
        raise _culprit(value).error() from exc


def _culprit(value: Any) -> Unwritable:
    steps: list[str] = []
    for _ in range(_DEEPEST):
        position = next((at for at, child in enumerate(_children(value)) if not _writable(child)), None)
        if position is None:
            break
        steps.insert(0, step(value, position))
        value = _children(value)[position]
    found = Unwritable(value, "pickle cannot write it", "pass a value that can be pickled")
    found.steps = steps
    return found


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []


def _writable(value: Any) -> bool:
    try:
        pickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001 - the question is only whether it can be written
        return False
    return True
