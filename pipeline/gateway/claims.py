"""Presigned URLs to read what a client has uploaded, or what a task has put for it; and their end."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.keys import ttl_days_of
from pipeline.gateway.errors import NotFoundError
from pipeline.gateway.uploads import is_upload
from pipeline.stores import Store
from pipeline.stores.ranges import ranges_of


class Link(msgspec.Struct, frozen=True):
    """A URL that reads one object until it expires."""

    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Links:
    """Gives out URLs to read: of uploaded files, and of payloads that handles stand for. Deletes files.

    Payloads of messages and results are not for clients. Safe to share between threads.

    Args:
        claimcheck: of the app.
        uploads: the store that clients upload to.
        expires_seconds: how long a URL lives.
    """

    claimcheck: ClaimCheck
    uploads: Store
    expires_seconds: int

    def link(self, key: str) -> Link:
        """Return a URL for one object. Does not ask the store: a missing object answers 404 there.

        Raises:
            NotFoundError: the gateway gives out no such key.
        """
        expires_at = datetime.now(UTC) + timedelta(seconds=self.expires_seconds)
        ranges = ranges_of(self._store(key))
        return Link(ranges.url(key, self.expires_seconds, parameters=_saved(key)), expires_at)

    def delete(self, key: str) -> None:
        """Delete a file that a client has uploaded. Safe to call twice.

        Raises:
            NotFoundError: it is none.
            StoreError: it was not deleted.
        """
        if not is_upload(key, self.uploads.prefix):
            raise NotFoundError("no such file: the key is not one that this gateway has given out")
        for error in self.uploads.delete([key]).values():
            raise error

    def _store(self, key: str) -> Store:
        if is_upload(key, self.uploads.prefix):
            return self.uploads
        if ttl_days_of(key, self.claimcheck.store.prefix) is not None:
            return self.claimcheck.store
        raise NotFoundError("no such claim: the key is not one that this gateway gives out")


def _saved(key: str) -> dict[str, str]:
    """Let browsers save a file: one that they showed could run scripts as if it were the bucket's."""
    return {"ResponseContentDisposition": f'attachment; filename="{key.rpartition("/")[2]}"'}
