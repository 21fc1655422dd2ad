"""Pickle, for applications that ask for it."""

import pickle
from typing import Any

from pipeline.claimcheck.codec.unwritable import unwritable_in


def dumps(value: Any) -> bytes:
    """Return ``value`` as a pickle.

    Raises:
        PayloadEncodeError: some part of it cannot be pickled; names its path and type.
    """
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as exc:  # __reduce__ is the application's code: it may raise anything
        why = "pickle cannot write it"
        raise unwritable_in(value, _is_writable, why, "pass a value that can be pickled").error() from exc


def _is_writable(value: Any) -> bool:
    try:
        pickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001 - the question is only whether it can be written
        return False
    return True
