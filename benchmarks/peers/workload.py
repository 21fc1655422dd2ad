"""What every peer does: the same arguments, and a task that reads them and writes down when it had them."""

import base64
import json
import os
import random
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from benchmarks.measure import records

OFFLOAD_BYTES = 262_144
"""Above it, each peer that has a threshold uses S3: the default here and in AWS's extended client."""
CHUNK_BYTES = 16 << 20
WARM_UP_TASKS = 20
"""Run before anything is measured."""
WARM_UP_BYTES = 300_000
"""Size of the largest warm-up argument: above the threshold, and small beside the large ones."""


def _text(size_bytes: int) -> str:
    """Return text that compresses by a quarter: six random bits in each character."""
    return base64.b64encode(_noise(size_bytes * 3 // 4)).decode()


def _noise(size_bytes: int) -> bytes:
    dice = random.Random(1)  # which makes no more than 256 MiB at a time
    return b"".join(
        dice.randbytes(min(CHUNK_BYTES, size_bytes - at)) for at in range(0, size_bytes, CHUNK_BYTES)
    )


def _records(size_bytes: int) -> list[dict[str, Any]]:
    some = records(100)
    return records(size_bytes * 100 // len(json.dumps(some))) or some[:1]


def _array(size_bytes: int) -> Any:
    import numpy as np  # noqa: PLC0415 - most workloads do without

    return np.random.default_rng(1).random(size_bytes // 8)


MAKERS: Mapping[str, Callable[[int], Any]] = {
    "text": _text,
    "records": _records,
    "bytes": _noise,
    "array": _array,
}
"""How an argument is made, by kind. Records compress to a fifth, the others hardly."""


@dataclass(frozen=True)
class Payload:
    """The argument of each task."""

    kind: str
    size_bytes: int
    is_native: bool = True
    """The peer takes bytes and arrays as they are. The others take what JSON can say: base64 and lists."""

    def warm_up(self) -> Self:
        """Return the argument of the tasks that run before anything is measured."""
        return replace(self, size_bytes=min(self.size_bytes, WARM_UP_BYTES))

    def argument(self) -> Any:
        """Return the argument as the peer takes it."""
        value = MAKERS[self.kind](self.size_bytes)
        if self.is_native or self.kind not in {"bytes", "array"}:
            return value
        return base64.b64encode(value).decode() if self.kind == "bytes" else value.tolist()

    def restored(self, value: Any) -> Any:
        """Return what :meth:`argument` was made of."""
        if self.is_native or self.kind not in {"bytes", "array"}:
            return value
        if self.kind == "bytes":
            return base64.b64decode(value)
        import numpy as np  # noqa: PLC0415 - most workloads do without

        return np.array(value)


class Stamp(NamedTuple):
    """Times of one task, in seconds of the system's monotonic clock."""

    sent: float
    """The producer began to publish it."""
    ready: float
    """Its code had the argument."""


_STAMP = struct.Struct("dd")


@cache
def _stamps(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def run(payload: Payload, path: str, value: Any, sent: float) -> None:
    """Read the argument, and append the times. Process: the one that executes tasks."""
    if len(payload.restored(value)) == 0:
        raise ValueError("the argument is empty")
    os.write(_stamps(path), _STAMP.pack(sent, time.monotonic()))


def stamps(path: Path) -> list[Stamp]:
    """Return the times of the tasks that have run, in order."""
    data = path.read_bytes() if path.exists() else b""
    return sorted((Stamp(*each) for each in _STAMP.iter_unpack(data)), key=lambda each: each.ready)
