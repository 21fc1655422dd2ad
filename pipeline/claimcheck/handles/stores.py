"""Which store a handle names, and what this process allows there: no key leads out of it."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pipeline.claimcheck.keys import FORM, HANDLES, below, end_of, ttl_days_of
from pipeline.errors import ClaimError, PayloadExpiresError, StoreDeniedError
from pipeline.stores.protocol import Store

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import ClaimCheck
    from pipeline.claimcheck.handles.handle import Handle


def store_of(claimcheck: "ClaimCheck", handle: "Handle") -> Store:
    """Return the store of a handle, if this process allows its key there. Does no I/O.

    Raises:
        ClaimError: it does not, or the handle is malformed.
    """
    if why := getattr(handle, "why", None):
        raise ClaimError(why)
    if handle.store == claimcheck.options.alias:
        return _own(claimcheck.store, handle.key)
    store = claimcheck.stores.get(handle.store)
    if store is None:
        known = ", ".join([claimcheck.options.alias, *claimcheck.stores])
        raise ClaimError(
            f"handle rejected [store={handle.store[:64]!r}]: this process knows {known}; give producers and "
            "workers the same alias and stores"
        )
    _check_below(handle.key, store.prefix)
    return store


def owned_store(claimcheck: "ClaimCheck", handle: "Handle") -> Store:
    """Return the store of a handle, if this app may delete from it. Does no I/O.

    Raises:
        ClaimError: this process does not allow the handle's store or key.
        StoreDeniedError: the store is a further one, and not owned.
    """
    store = store_of(claimcheck, handle)
    if handle.store != claimcheck.options.alias and handle.store not in claimcheck.owned:
        raise StoreDeniedError(
            f"not deleted [store={handle.store}, key={handle.key}]: this app does not own that store; "
            "whoever put the object deletes it"
        )
    return store


def check_lives(claimcheck: "ClaimCheck", handle: "Handle", wait_seconds: float) -> None:
    """Check that the payload of a handle is still there when a task with it may run. Does no I/O.

    Args:
        claimcheck: of this process; nothing is known of further stores.
        handle: an argument of the task.
        wait_seconds: how long it is until the task's ETA.

    Raises:
        PayloadExpiresError: its TTL class ends before.
    """
    due = datetime.now(UTC) + timedelta(seconds=wait_seconds)
    end = end_of(handle.key, claimcheck.store.prefix) if handle.store == claimcheck.options.alias else None
    if end is not None and wait_seconds > 0 and due > end:
        raise PayloadExpiresError(
            f"payload would expire [key={handle.key}]: its task is to run on {due:%Y-%m-%d}, and its "
            f"ttl_days end on {end:%Y-%m-%d}; store it with more ttl_days, or send the task later"
        )


def _own(store: Store, key: str) -> Store:
    if ttl_days_of(key, store.prefix) is None:
        raise ClaimError(
            f"handle rejected [key={key[:120]!r}]: expected {below(store.prefix, HANDLES)}<days>d/{FORM}; "
            "producer and worker must be given the same store"
        )
    return store


def _check_below(key: str, prefix: str) -> None:
    if not key.startswith(below(prefix, "")) or {".", ".."} & set(key.split("/")):
        raise ClaimError(
            f"handle rejected [key={key[:120]!r}]: expected a key below {below(prefix, '')!r} without '.' "
            "and '..'"
        )
