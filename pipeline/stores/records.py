"""What a store of records does: small objects beside the payloads, each written on condition alone.

What a record says is in ``pipeline/claimcheck/signed_record.py``.
"""

from typing import Protocol, runtime_checkable


class Records(Protocol):
    """Where records are kept. Safe to use from several threads and after a fork.

    A *tag* is the store's name for one content of one record, such as an ETag. All verbs raise
    ``StoreUnavailableError`` when trying again later may help, after which a write
    may have happened or not, and ``StoreDeniedError`` when it will not.
    """

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a record's content and tag, or None if there is none."""

    def write(self, key: str, content: bytes, tag: str | None) -> str | None:
        """Write over the record that has ``tag``; without one, make the record. Return the new tag.

        Returns None, and changes nothing, if the record has another tag by now, is gone, or is there already.
        """

    def remove(self, key: str, tag: str) -> bool:
        """Delete the record if it has ``tag``, and say whether it did."""


@runtime_checkable
class RecordKeeper(Protocol):
    """A store that keeps records beside its payloads. Every store of ours does; a ``Store`` need not."""

    def records(self) -> Records:
        """Return the store's records. Does no I/O."""


def records_of(store: object) -> Records:
    """Return a store's records.

    Raises:
        ValueError: it keeps none.
    """
    if not isinstance(store, RecordKeeper):
        raise ValueError(  # noqa: TRY004 - a configuration that cannot work, as everywhere
            f"@idempotent needs a store that writes on condition, and {type(store).__name__} has no "
            "records(); use an s3://, file:// or memory:// store, or give yours that method "
            "(pipeline.stores.RecordKeeper)"
        )
    return store.records()
