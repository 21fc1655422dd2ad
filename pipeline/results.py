"""Large results: offloaded like arguments when ``result_serializer="claimcheck"``, read by ``result.get()``.

A result may be read by many and is acknowledged by nobody, so its payload stays until it is forgotten here
or until the bucket's lifecycle rule expires it.
"""

from typing import Any

from celery.backends.base import KeyValueStoreBackend, decompress_payload
from celery.result import AsyncResult

from pipeline import serializer
from pipeline.claim import Claim, read
from pipeline.errors import ClaimError


def forget(result: AsyncResult[Any]) -> None:
    """Forget a result as ``result.forget()`` does, and release its payload if it has one.

    Runs in any process. Safe to call twice. For the backends that keep results by key (Redis, DynamoDB,
    S3, filesystem, memcached); for others it is ``result.forget()`` alone.
    """
    backend = result.backend
    if not isinstance(backend, KeyValueStoreBackend) or backend.serializer != serializer.NAME:
        result.forget()
        return
    stored = backend.get(backend.get_key_for_task(result.id))
    if stored:
        result.forget()
        claimcheck = serializer.installed()
        claimcheck.orphan(claimcheck.release(_claims(stored)))


def _claims(stored: Any) -> list[Claim]:
    chosen = serializer.installed().options
    try:
        message = read(
            bytes(decompress_payload(stored)), chosen.signing_key, accept_unsigned=chosen.accept_unsigned
        )
    except ClaimError:  # written before results were offloaded, or by another serializer
        return []
    return [message.payload] if isinstance(message.payload, Claim) else []
