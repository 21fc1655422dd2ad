"""Revocations that outlive workers: a task that was revoked while it waits for its ETA never runs.

A worker keeps what was revoked in memory, for three hours, and forgets it when it ends; a message may wait in
SQS for days. So revoking a task also writes a record to the store, ``<prefix>/revoked/v1/`` and 40 hex
digits made of the task's id. The process that is about to run a task reads it once, if the task was published
to wait for long (``deferred/running.py``). A record is a ``signed_record.py``, and counts for
``payload_ttl_seconds``; then the bucket's lifecycle rule removes it.
Source: celery 5.7.0, ``worker/state.py``, ``REVOKE_EXPIRES``.
"""

import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

from pipeline.claimcheck import signed_record
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.signed_record import Record
from pipeline.errors import PipelineError
from pipeline.stores.records import RecordKeeper, Records
from pipeline.telemetry import log_lines

logger = log_lines.logger(__name__)

SENT_AT_ONCE_COUNT = 10
"""So many records are written side by side where a group is revoked: each is a request."""

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


def is_revoked(claimcheck: ClaimCheck, task_id: str) -> bool:
    """Say whether a task has a record that counts: one GET, and more after an error such as 503.

    A store without records knows of none.

    Raises:
        StoreError: the store has not answered within ``LOOK_UP_SECONDS``, or denies access.
        PipelineError: the record is none of ours.
    """
    if not isinstance(claimcheck.store, RecordKeeper):
        return False
    key, chosen, records = _key(claimcheck, task_id), claimcheck.options, claimcheck.store.records()
    found = claimcheck.with_retries(lambda: records.read(key), LOOK_UP_SECONDS)
    if found is None:
        return False
    record = signed_record.read(found[0], key, chosen.signing_key, accept_unsigned=chosen.accept_unsigned)
    return record.expires > datetime.now(UTC)


def _key(claimcheck: ClaimCheck, task_id: str) -> str:
    return signed_record.key_below(claimcheck.store.prefix, "revoked", str(task_id))
