"""The ``Records`` protocol: small objects beside the payloads, written conditionally.

The content of a record is defined in ``pipeline/claimcheck/signed_record.py``.
"""

from typing import Protocol, runtime_checkable


class Records(Protocol):
    """A store of records. Safe to use from several threads and after a fork.

    A *tag* identifies one content of one record, such as an ETag. All methods raise
    ``StoreUnavailableError`` for transient errors, after which a write may have happened or not, and
    ``StoreDeniedError`` for permanent ones.
    """

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a record's content and tag, or None if there is none."""

    def write(self, key: str, content: bytes, tag: str | None) -> str | None:
        """Replace the record that has ``tag``; with None, create the record. Return the new tag.

        Returns None, and changes nothing, if the tag has changed, or the record is deleted or exists already.
        """

    def remove(self, key: str, tag: str) -> bool:
        """Delete the record if it has ``tag``, and return whether it had."""


@runtime_checkable
class RecordKeeper(Protocol):
    """A store with records beside its payloads. The library's stores have them; others need not."""

    def records(self) -> Records:
        """Return the store's records. Does no I/O."""


def records_of(store: object) -> Records:
    """Return a store's records.

    Raises:
        ValueError: the store has none.
    """
    if not isinstance(store, RecordKeeper):
        raise ValueError(  # noqa: TRY004 - wrong configuration is a ValueError
            "@idempotent and shared payloads need a store with conditional writes, and "
            f"{type(store).__name__} has no records(); use an s3://, file:// or memory:// "
            "store, or add that method to yours (pipeline.stores.RecordKeeper)"
        )
    return store.records()
