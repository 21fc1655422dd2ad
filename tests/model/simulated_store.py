"""A store on virtual time whose calls stop before and after what they do."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from stepping import Clock, Fault, pause

from pipeline.errors import PayloadMissingError, StoreDeniedError, StoreError, StoreUnavailableError
from pipeline.stores.protocol import StoredObject

PREFIX = "claims"


@dataclass(eq=False)
class SimulatedStore:
    """Payloads by key. ``on_delete`` sees each key that goes."""

    clock: Clock
    on_delete: Callable[[str], None]
    prefix: str = PREFIX
    written: dict[str, datetime] = field(default_factory=dict)

    def put(self, key: str, payload: bytes = b"", metadata: Mapping[str, str] | None = None) -> None:
        """Note when a payload was put."""
        fault = pause("PutObject")
        if fault in {Fault.NONE, Fault.UNANSWERED, Fault.PARTLY}:
            self.written[key] = self.clock.date
        _raise(fault)

    def get(self, key: str, size_bytes: int = 0) -> bytes:
        """Return nothing, if the payload is there."""
        _raise(pause("GetObject"))
        if key not in self.written:
            raise PayloadMissingError(f"payload missing [key={key}]: released")
        return b""

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Delete payloads; some may fail."""
        fault = pause("DeleteObjects is sent")
        if fault in {Fault.LOST, Fault.BUSY, Fault.DENIED}:
            _raise(fault)
        left = {keys[0]: StoreDeniedError("not deleted")} if fault is Fault.PARTLY else {}
        for key in keys:
            if key not in left and self.written.pop(key, None):
                self.on_delete(key)
        pause("DeleteObjects is answered")
        if fault is Fault.UNANSWERED:
            _raise(fault)
        return left

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the payloads, one page each."""
        for key, modified in list(self.written.items()):
            pause("ListObjects")
            yield StoredObject(key, 0, modified)


def _raise(fault: Fault) -> None:
    if fault is Fault.DENIED:
        raise StoreDeniedError("store denies access")
    if fault in {Fault.LOST, Fault.BUSY, Fault.UNANSWERED}:
        raise StoreUnavailableError("store unavailable")
