"""Sends many entries in few calls, and reads the answer for each: confirmed, failed, or unclear.

SNS and EventBridge may take some entries of a call and fail others. A failed one is sent again if that may
help, and what fails in the end is named in one error. Runs in the process that publishes.
"""

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from time import sleep
from typing import Any

from botocore.config import Config

from pipeline.claimcheck.handles.handle import Handle
from pipeline.errors import EventSendError, FailedEvent, StoreError
from pipeline.transport.clients import new_client
from pipeline.transport.send import failures
from pipeline.transport.send.failures import Failure
from pipeline.transport.sqs_errors import FAILURES

ATTEMPTS = 4
BACKOFF_SECONDS = 0.1

BATCH_COUNT = 10
"""Most entries of one call. Source: SNS API Reference, PublishBatch; EventBridge API Reference, PutEvents."""

_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})


Outcome = str | Failure
"""What became of an entry in a call: the id that the service has given it, or why it is not confirmed."""

Call = Callable[[Sequence[dict[str, Any]]], Sequence[Outcome]]
"""Sends entries in one call, and returns what became of each, in order."""


@dataclass(eq=False, slots=True)
class Entry:
    """One event."""

    fields: dict[str, Any]
    """As the service's API has them."""
    size_bytes: int
    stored: Handle | None = None
    """The payload that was stored for it alone."""
    group: str | None = None
    """What it must not be overtaken in: the message group of a FIFO topic."""
    id: str | None = None
    code: str = "NotSent"
    is_certain: bool = True

    def note(self, outcome: Outcome) -> None:
        """Note what became of it in an attempt."""
        if isinstance(outcome, str):
            self.id = outcome
        else:
            self.code, self.is_certain = outcome.code, self.is_certain and outcome.is_certain


def client(service: str, region: str | None) -> Any:
    """Return this process's client of a service. Threads may share it."""
    return _client(service, region, os.getpid())


@cache
def _client(service: str, region: str | None, _process: int) -> Any:
    return new_client(service, _CONFIG, region_name=region)


def send_all(what: str, entries: Sequence[Entry], call: Call, limit_bytes: int) -> list[str]:
    """Send entries, and return their ids.

    The payloads of those that were certainly not sent are deleted.

    Args:
        what: topic or bus, for the error.
        entries: all of them.
        call: sends some.
        limit_bytes: most that one call may weigh.

    Raises:
        EventSendError: some were not sent, or may not have been.
    """
    try:
        _send_all(entries, call, limit_bytes)
    finally:
        discard(each for each in entries if each.id is None and each.is_certain)
    failed = [FailedEvent(n, e.code, e.is_certain) for n, e in enumerate(entries) if e.id is None]
    if failed:
        raise _error(what, failed)
    return [str(each.id) for each in entries]


def discard(entries: Iterable[Entry]) -> None:
    """Delete payloads of entries that nobody will receive. Their TTL is the end of those that stay."""
    for each in entries:
        if each.stored is not None:
            with suppress(StoreError):
                each.stored.delete()


def _send_all(entries: Sequence[Entry], call: Call, limit_bytes: int) -> None:
    broken: set[str | None] = set()
    for together in _calls(entries, limit_bytes):
        going = [each for each in together if each.group is None or each.group not in broken]
        for each in together:
            if each not in going:
                each.code = "PredecessorFailed"
        _send(going, call)
        broken |= {each.group for each in together if each.id is None}


def _calls(entries: Sequence[Entry], limit_bytes: int) -> Iterator[list[Entry]]:
    """Yield entries as one call carries them: of a message group one alone, for it may fail."""
    together, size_bytes = list[Entry](), 0
    for each in entries:
        is_follower = each.group is not None and each.group in {other.group for other in together}
        is_full = len(together) == BATCH_COUNT or size_bytes + each.size_bytes > limit_bytes
        if together and (is_full or is_follower):
            yield together
            together, size_bytes = [], 0
        together.append(each)
        size_bytes += each.size_bytes
    if together:
        yield together


def _send(entries: list[Entry], call: Call) -> None:
    """Send one call, more than once if need be."""
    for attempt in range(ATTEMPTS):
        if not entries:
            return
        if attempt:
            sleep(random.uniform(0.5, 1) * BACKOFF_SECONDS * 2**attempt)  # noqa: S311 - no secret
        outcomes = _attempt(entries, call)
        for each, outcome in zip(entries, outcomes, strict=True):
            each.note(outcome)
        entries = [each for each, it in zip(entries, outcomes, strict=True) if _may_succeed(it)]


def _may_succeed(outcome: Outcome) -> bool:
    return isinstance(outcome, Failure) and outcome.is_transient


def _attempt(entries: list[Entry], call: Call) -> Sequence[Outcome]:
    try:
        return call([each.fields for each in entries])
    except FAILURES as exc:
        return [failures.of_call(exc)] * len(entries)
    except BaseException as exc:
        for each in entries:
            each.note(Failure(type(exc).__name__, is_certain=False, is_transient=False))
        raise


def _error(what: str, failed: Sequence[FailedEvent]) -> EventSendError:
    codes, unclear_count = failures.summary(failed)
    return EventSendError(
        f"events not sent: {len(failed)} [to={what}, code={codes}]; AWS returned errors or did not confirm "
        f"them, and {unclear_count} of them may have been sent; .failed has the place of each: fix the cause "
        "and send those again",
        failed,
    )
