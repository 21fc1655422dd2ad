"""Doors whose messages name objects in S3: a task gets a handle of each that is in a listed store."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.claimcheck.handles import stores
from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.installed import installed
from pipeline.doors.foreign_message import ForeignMessage, TaskCall
from pipeline.errors import ClaimError, MalformedError


@dataclass(frozen=True, slots=True)
class ObjectDoor:
    """A door with the stores that its messages may name."""

    stores: tuple[str, ...]
    """Aliases among ``stores`` of ``pipeline.install``."""
    translate: Callable[[ForeignMessage], Iterable[TaskCall]]
    deletes: bool = False
    """Whether this app deletes the objects."""
    has_buckets: bool = True
    """Whether its messages name a bucket, which must be that of a store."""

    only: str | None = None
    """The one task that messages of Celery on its queue may call, unless they are signed: given where whoever
    publishes chooses the whole message, and need not be allowed to send to the queue."""

    def __call__(self, message: ForeignMessage) -> Iterable[TaskCall]:
        """Return the calls of a message."""
        return self.translate(message)


def object_handle(store: str, fields: Mapping[str, Any], bucket: str | None = None) -> Handle:
    """Return the handle of an object that a message names. Does no I/O.

    Args:
        store: alias of the store that it must be in.
        fields: those of the handle, ``key`` among them.
        bucket: the bucket that the message names, if it names one.

    Raises:
        MalformedError: the object is in another bucket or outside the store's prefix, or a field is wrong.
    """
    if bucket not in {None, bucket_of(store)}:
        raise MalformedError(f"its object is not in the bucket of store {store!r}")
    try:
        handle = Handle.from_dict({"store": store, **fields})
    except ClaimError:
        raise MalformedError("a field of its object is too long, or has a wrong type") from None
    try:
        stores.store_of(installed(), handle)
    except ClaimError:
        raise MalformedError(f"its object is not below the prefix of store {store!r}") from None
    return handle


def bucket_of(alias: str) -> str | None:
    """Return the bucket of a store of this process; ``None`` for a store without one, and no such store."""
    claimcheck = installed()
    store = claimcheck.store if alias == claimcheck.options.alias else claimcheck.stores.get(alias)
    return getattr(store, "bucket", None)
