"""Runs one delivery of an idempotent call: claims the record of the call, and stores the result there.

::

    free ---- begin ----> in progress ---- finish ----> done ---- keep ----> free
                           |      |
                           |      +------ abandon (the call failed) -------> free
                           +------ its expiry (the process died) ----------> free

Each arrow but the expiries is one conditional write, so of several deliveries one makes it. Nothing here
imports Celery: ``decorator.py`` decides what a delivery means.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

from pipeline.claimcheck import signed_record
from pipeline.claimcheck.claim import Inline
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.signed_record import Record
from pipeline.errors import FramesDropped, PipelineError, TaskInProgressError
from pipeline.stores.records import Records
from pipeline.telemetry import log_lines

logger = log_lines.logger(__name__)

IN_PROGRESS_WAIT_SECONDS = 5.0
"""How long a delivery waits for another one that runs the call. Short calls end within it. A retry that
arrives before the attempt that sent it has ended needs it. It also slows down a broker that redelivers at
once."""

POLL_SECONDS = 0.5
"""Interval at which the record is read meanwhile: one GET each time."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One delivery of one call, in the process that runs it. Not shared between threads."""

    claimcheck: ClaimCheck
    records: Records
    key: str
    """Of the record: a hash."""
    in_progress: timedelta
    """How long the call can run."""
    keep: timedelta
    """How long its result counts."""
    log_fields: Mapping[str, str]
    """Fields of its log lines."""
    owner: str = field(default_factory=lambda: secrets.token_hex(16))
    _tag: str | None = None
    """That of the record while it is ours."""

    def begin(self) -> Inline | None:
        """Take the record, and return None; or return the result that it holds. Waits a little for either.

        Raises:
            TaskInProgressError: another delivery still runs.
            PayloadCorruptError: the record is not one of ours.
            StoreDeniedError, StoreUnavailableError: it cannot be read or written.
        """
        deadline = monotonic() + IN_PROGRESS_WAIT_SECONDS
        while True:
            record = self._look()
            if record.result is not None or self._tag:
                return record.result
            if monotonic() > deadline:
                raise self._busy(record)
            sleep(POLL_SECONDS)

    def _look(self) -> Record:
        """Return the record as it is, and take it if it is free. Without a tag, another one took it."""
        found = self._read()
        if found is None or found[0].expires <= datetime.now(UTC):
            mine = Record(owner=self.owner, expires=datetime.now(UTC) + self.in_progress)
            self._tag = self._write(mine, found[1] if found else None)
            return mine
        record, tag = found
        if record.owner == self.owner:  # the answer to our write was lost, and its repetition failed
            self._tag = tag
        return record

    def _busy(self, record: Record) -> TaskInProgressError:
        error = TaskInProgressError(
            f"task in progress [record={self.key}]: another delivery runs it, until "
            f"{record.expires.isoformat(timespec='seconds')} at the latest; this one comes again"
        )
        error.free_in_seconds = max((record.expires - datetime.now(UTC)).total_seconds(), 0.0)
        return error

    def finish(self, result: Inline) -> None:
        """Leave the result in the record, if it is still ours. Never raises, as the effect has happened."""
        record = Record(owner=self.owner, expires=datetime.now(UTC) + self.keep, result=result)
        try:
            if not self._write(record, self._tag) and not self._is_done():
                self._warn("result not kept: another delivery took over; in_progress_seconds is too short")
        except PipelineError as exc:
            self._warn("result not kept, so a second delivery will run again: %s", exc)

    def _tag_of_ours(self) -> str:
        """Return the tag of a record that we may have written without getting the answer."""
        found = self._read()
        return found[1] if found is not None and found[0].owner == self.owner else ""

    def _is_done(self) -> bool:
        """Return whether our write succeeded although its answer was lost."""
        found = self._read()
        return found is not None and found[0].owner == self.owner and found[0].result is not None

    def abandon(self) -> None:
        """Remove the record, if it is still ours, so that the call may run again. Never raises."""
        try:
            if tag := self._tag or self._tag_of_ours():
                self.claimcheck.with_retries(lambda: self.records.remove(self.key, tag))
        except PipelineError as exc:
            self._warn("record not removed, so the call cannot run again before it expires: %s", exc)

    def _read(self) -> tuple[Record, str] | None:
        with FramesDropped():
            return self._found()

    def _found(self) -> tuple[Record, str] | None:
        found = self.claimcheck.with_retries(lambda: self.records.read(self.key))
        if found is None:
            return None
        content, tag = found
        chosen = self.claimcheck.options
        record = signed_record.read(
            content, self.key, chosen.signing_key, accept_unsigned=chosen.accept_unsigned
        )
        return record, tag

    def _write(self, record: Record, tag: str | None) -> str | None:
        with FramesDropped():
            return self._written(record, tag)

    def _written(self, record: Record, tag: str | None) -> str | None:
        content = signed_record.write(record, self.key, self.claimcheck.options.signing_key)
        return self.claimcheck.with_retries(lambda: self.records.write(self.key, content, tag))

    def _warn(self, text: str, *values: object) -> None:
        logger.warning(text, *values, extra={**self.log_fields, "record_key": self.key})
