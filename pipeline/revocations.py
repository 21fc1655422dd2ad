"""Revocations that outlive workers: a task that waits for its ETA and was revoked does not run, ever.

A worker keeps what was revoked in memory, for three hours, and forgets it when it ends; a message may wait in
SQS for days. So whoever revokes a task also leaves a record in the store, ``<prefix>/revoked/v1/`` and 40 hex
digits made of the task's id. It is looked up once, by the process that is about to run a task that was
published to wait for :data:`LONG_WAIT_SECONDS` or more; a shorter wait costs no request. A record is a
``claimcheck/signed_record.py``, and counts for ``payload_ttl_seconds``; then the bucket's lifecycle rule
removes it. Source: celery 5.7.0, ``worker/state.py``, ``REVOKE_EXPIRES``.
"""

import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from celery import current_task

from pipeline.claimcheck import signed_record
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.headers import NAME
from pipeline.claimcheck.signed_record import Record
from pipeline.deferred.deferred import labels
from pipeline.errors import PipelineError, RevokedWhileWaitingError
from pipeline.stores.records import RecordKeeper, Records, records_of
from pipeline.telemetry import log_fields, log_lines

logger = log_lines.logger(__name__)

SENT_AT_ONCE_COUNT = 10
"""So many records are written side by side where a group is revoked: each is a request."""

LONG_WAIT_SECONDS = 10
"""Tasks that wait for less are not looked up: a retry after a second would cost a request each time."""

LOOK_UP_SECONDS = 3.0
"""How long a task waits for the store to say whether it was revoked. Its payload may need no store at all."""


def revoke(claimcheck: ClaimCheck, task_ids: Iterable[str]) -> None:
    """Leave a record for each task, in the process that revokes. Never raises: workers know of it already.

    A store without records keeps none.
    """
    if isinstance(claimcheck.store, RecordKeeper):
        records = claimcheck.store.records()
        with ThreadPoolExecutor(SENT_AT_ONCE_COUNT) as pool:
            list(pool.map(partial(_keep, claimcheck, records), task_ids))


def _keep(claimcheck: ClaimCheck, records: Records, task_id: str) -> None:
    expires = datetime.now(UTC) + timedelta(seconds=claimcheck.options.payload_ttl_seconds)
    key = _key(claimcheck, task_id)
    record = Record(owner=secrets.token_hex(16), expires=expires)
    content = signed_record.write(record, key, claimcheck.options.signing_key)
    try:
        if records.write(key, content, None) is None and (found := records.read(key)):
            records.write(key, content, found[1])  # it was revoked before: this one counts for longer
    except PipelineError as exc:
        logger.warning(
            "revocation not kept: workers that run now know of it, later ones will not: %s",
            exc,
            extra={"task_id": task_id},
        )


def check_running(claimcheck: ClaimCheck) -> None:
    """Look whether the task that is about to run here was revoked while it waited: one GET, if that was long.

    Where the store does not say within :data:`LOOK_UP_SECONDS`, the task runs: a store that does not answer
    must not hold up tasks that need nothing of it. After an error such as 503 it is asked again.

    Raises:
        RevokedWhileWaitingError: it was.
    """
    request = current_task.request if current_task else None
    if request is None or not _has_waited(request) or not isinstance(claimcheck.store, RecordKeeper):
        return
    try:
        expires = _expiry(claimcheck, request.id)
    except PipelineError as exc:
        logger.warning(
            "task runs, whether it was revoked is not known: %s",
            exc,
            extra=log_fields.of_message(request, labels()[0]),
        )
        return
    if expires is not None and expires > datetime.now(UTC):
        raise RevokedWhileWaitingError(f"task revoked [task_id={request.id}]: while it waited for its ETA")


def _has_waited(request: Any) -> bool:
    described = request.get(NAME)
    seconds = described.get("wait_seconds") if isinstance(described, Mapping) else None
    return isinstance(seconds, int) and seconds >= LONG_WAIT_SECONDS


def _expiry(claimcheck: ClaimCheck, task_id: str) -> datetime | None:
    key, chosen = _key(claimcheck, task_id), claimcheck.options
    records = records_of(claimcheck.store)
    found = claimcheck.with_retries(lambda: records.read(key), LOOK_UP_SECONDS)
    if found is None:
        return None
    record = signed_record.read(found[0], key, chosen.signing_key, accept_unsigned=chosen.accept_unsigned)
    return record.expires


def _key(claimcheck: ClaimCheck, task_id: str) -> str:
    return signed_record.key_below(claimcheck.store.prefix, "revoked", str(task_id))
