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
    contents: dict[str, bytes] = field(default_factory=dict)
    """Of ledgers; their tags are these, too, as ETags of S3 are made of contents."""

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

    def records(self) -> "SimulatedRecords":
        """Return the ledgers."""
        return SimulatedRecords(self)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the payloads, one page each."""
        for key, modified in list(self.written.items()):
            pause("ListObjects")
            yield StoredObject(key, 0, modified)


@dataclass(frozen=True)
class SimulatedRecords:
    """Ledgers, written on condition."""

    store: SimulatedStore

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return content and tag."""
        _raise(pause("GetObject of a ledger is sent"))
        content = self.store.contents.get(key) if key in self.store.written else None
        pause("GetObject of a ledger is answered")
        return None if content is None else (content, content.hex())

    def write(self, key: str, content: bytes, tag: str | None) -> str | None:
        """Write if the tag is still the current one."""
        fault = pause("PutObject of a ledger is sent")
        if fault in {Fault.LOST, Fault.BUSY, Fault.DENIED}:
            _raise(fault)
        found = self.store.contents[key].hex() if key in self.store.written else None
        is_met = found == tag
        if is_met:
            self.store.written[key], self.store.contents[key] = self.store.clock.date, content
        pause("PutObject of a ledger is answered")
        if fault is Fault.UNANSWERED:
            _raise(fault)
        return content.hex() if is_met else None


def _raise(fault: Fault) -> None:
    if fault is Fault.DENIED:
        raise StoreDeniedError("store denies access")
    if fault in {Fault.LOST, Fault.BUSY, Fault.UNANSWERED}:
        raise StoreUnavailableError("store unavailable")
