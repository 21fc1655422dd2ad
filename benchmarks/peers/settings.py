"""What producers and workers of a peer are given, through one variable of the environment."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from benchmarks.peers.workload import Payload

VARIABLE = "BENCH_SETTINGS"


@dataclass(frozen=True)
class Settings:
    """One peer at one workload."""

    peer: str
    module: str
    """Of the peer: it has ``together``, ``one`` and ``consume``."""
    payload: Payload
    broker: str
    bucket: str
    queue: str
    stamps: str
    """Path of the file that tasks write to."""
    pool: str = "prefork"
    concurrency: int = 2
    has_commands: bool = False
    """Workers answer remote control."""

    def variables(self) -> Mapping[str, str]:
        """Return the environment of a process that calls :meth:`read`."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def read(cls) -> Self:
        """Return the settings of this process."""
        values = json.loads(os.environ[VARIABLE])
        return cls(**{**values, "payload": Payload(**values["payload"])})
