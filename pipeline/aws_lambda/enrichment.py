"""The claim check around EventBridge Pipes: *split* and *retrieve*, the enrichments of two pipes.

::

    queue -> pipe (split) -> event bus -> rule -> queue -> pipe (retrieve) -> Step Functions

A pipe calls its enrichment with an array of records, and passes the array that it returns to its target.
Whatever these functions raise makes the pipe deliver the records again, until they are dead letters. Nothing
here knows Celery. A payload ends with the TTL of its store, as nobody knows when the last target is done.
Source: Amazon EventBridge User Guide, "Event enrichment in Amazon EventBridge Pipes".
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack

from pipeline.claimcheck import claim_token
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.codec import Codec, TypedValues
from pipeline.claimcheck.message_size import Wire
from pipeline.errors import ClaimError
from pipeline.metrics import MetricSink, NullSink
from pipeline.metrics.recorder import Recorder
from pipeline.options import Options, OptionValues
from pipeline.stores import Store, check_prefix, store_from_url

Event = Mapping[str, Any]


class Enrichment:
    """The functions of two pipes around one store.

    Args:
        store: a URL such as ``dynamodb://table/prefix`` or ``s3://bucket/prefix``, or a store.
        keep: names of fields of a JSON payload that the event carries as well, for rules to match on.
        metrics: where metrics go; nowhere by default.
        **options: see ``pipeline.options.Options``. Both functions need the same ``signing_key``.

    Raises:
        ValueError: an argument is wrong.
    """

    def __init__(
        self,
        store: str | Store,
        *,
        keep: Iterable[str] = (),
        metrics: MetricSink | None = None,
        **options: Unpack[OptionValues],
    ) -> None:
        chosen = Options(**options)
        opened = store_from_url(store, chosen.payload_ttl_seconds) if isinstance(store, str) else store
        check_prefix(opened.prefix)
        self._keep = tuple(keep)
        self._claimcheck = ClaimCheck(
            store=opened,
            codec=Codec(TypedValues(default=_no_type, restore=lambda value: value), chosen.codec),
            options=chosen,
            wire=Wire.of("", 0, whole=False, dumps=json.dumps),
            recorder=Recorder(metrics or NullSink()),
        )

    def split(self, event: Event | list[Event], _context: Any = None) -> Any:
        """Put the payload of each record into the store, and return an event with its claim for each.

        Raises:
            StoreUnavailableError, StoreDeniedError: the payload could not be stored.
            PayloadTooLargeError: it is above ``payload_limit_bytes``.
        """
        return self._each(self._split, event)

    def retrieve(self, event: Event | list[Event], _context: Any = None) -> Any:
        """Return each event with its payload in place of the claim: in its ``detail``, or as a whole.

        Raises:
            ClaimError: there is no claim in it, or it is not one that this store has.
            PayloadMissingError: the payload has expired.
            PayloadCorruptError: its size, digest or content differ from the claim.
            StoreUnavailableError, StoreDeniedError: the store did not answer, or denied access.
        """
        return self._each(self._retrieve, event)

    def _each(self, call: Callable[[Event], Any], event: Event | list[Event]) -> Any:
        """Call for each record of a pipe's array, or for one event, as other services send it."""
        try:
            return call(event) if isinstance(event, Mapping) else [call(each) for each in event]
        finally:
            self._claimcheck.recorder.flush()  # Lambda stops all threads when the handler returns

    def _split(self, record: Event) -> Event:
        body = record.get("body")
        text = body if isinstance(body, str) else json.dumps(record)
        sealed = self._claimcheck.seal(text)
        claim = self._claimcheck.offload(sealed).claim
        content = claim_token.value_of(text)
        fields = content if isinstance(content, dict) else {}
        return {
            claim_token.FIELD: claim_token.written(self._claimcheck, claim),
            "metadata": {name: fields[name] for name in self._keep if name in fields},
            "payload_size": claim.expanded_bytes,
            "timestamp": claim.created.isoformat(),
        }

    def _retrieve(self, record: Event) -> Any:
        body = record.get("body")
        event = claim_token.value_of(body) if isinstance(body, str) else record
        if isinstance(event, dict) and isinstance(event.get("detail"), dict):
            return {**event, "detail": self._payload(event["detail"])}
        return self._payload(event)

    def _payload(self, event: Any) -> Any:
        token = event.get(claim_token.FIELD) if isinstance(event, dict) else None
        if not isinstance(token, str):
            raise ClaimError(
                f"no claim in the event: expected a field {claim_token.FIELD!r}, as the function split "
                "writes it"
            )
        return claim_token.rehydrated(self._claimcheck, token)


def _no_type(value: Any) -> Any:
    raise TypeError(type(value))
