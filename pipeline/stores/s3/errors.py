"""Maps botocore's errors to the library's errors by ``error_table.py``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import InvalidURL

from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from pipeline.errors import PipelineError, StoreDeniedError
from pipeline.stores.s3.error_table import CLASSES, CODES, REQUEST, Meaning

VENDOR_ERRORS = (boto.ClientError, boto.BotoCoreError, HTTPError)
"""All errors that boto3 raises; while a body is read, some of urllib3's pass through botocore."""

KEY_TAKEN_CODES = frozenset({"PreconditionFailed", "412", "NoSuchUpload"})
"""Codes of a conditional write whose key exists.

``NoSuchUpload`` is the second answer to a CompleteMultipartUpload whose first answer was lost.
"""

_CAUSE_LENGTH = 300


@contextmanager
def translated(place: str, client_region: Callable[[], str]) -> Iterator[None]:
    """Map every error of boto3 to one of the library's, in any process.

    Args:
        place: the object, such as ``bucket=…, key=…``.
        client_region: called only after an error; must not fail.

    Raises:
        PayloadMissingError, PayloadCorruptError, StoreDeniedError, StoreUnavailableError: see the table.
    """
    try:
        yield
    except VENDOR_ERRORS as exc:
        raise explain(exc, place, client_region()) from exc


def explain(exc: Exception, place: str, client_region: str) -> PipelineError:
    """Return the library's error for one of boto3's: fact, place, cause, remedy. Never fails."""
    meaning = meaning_of(exc)
    remedy = meaning.remedy.format(client_region=client_region, bucket_region=_bucket_region(exc))
    return meaning.error(f"{meaning.fact} [{place}]: {_cause(exc)}; {remedy}")


def meaning_of(exc: Exception) -> Meaning:
    """Look an error up in the table: by S3's code if the table has it, else by its class."""
    if _is_unsendable(exc):
        return REQUEST
    known = CODES.get(code_of(exc))
    return known or next(CLASSES[kind] for kind in type(exc).__mro__ if kind in CLASSES)


def _is_unsendable(exc: Exception) -> bool:
    """Return whether Python's HTTP client rejected a header or the URL; botocore wraps that error.

    Source: botocore 1.44, ``httpsession.py`` (``URLLib3Session.send``); Python 3.11, ``http/client.py``.
    """
    hidden = getattr(exc, "kwargs", {}).get("error") if isinstance(exc, boto.HTTPClientError) else None
    is_header = isinstance(hidden, ValueError) and str(hidden).startswith("Invalid header")
    return is_header or isinstance(hidden, UnicodeError | InvalidURL)


def is_denial(code: str) -> bool:
    """Return whether an S3 error code is a permanent denial."""
    meaning = CODES.get(code)
    return meaning is not None and meaning.error is StoreDeniedError


def code_of(exc: Exception) -> str:
    """Return S3's error code, or an empty string."""
    return str(answer_of(exc, "Error").get("Code", ""))


def _cause(exc: Exception) -> str:
    if not isinstance(exc, boto.ClientError):
        return f"{type(exc).__name__}: {_text(exc)}"
    status = answer_of(exc, "ResponseMetadata").get("HTTPStatusCode", "no status")
    message = answer_of(exc, "Error").get("Message", "")
    return f"S3 answered {code_of(exc) or 'no code'} ({status}) {_text(message)}".rstrip(" .")


def _bucket_region(exc: Exception) -> str:
    headers = answer_of(exc, "ResponseMetadata").get("HTTPHeaders")
    named = headers.get("x-amz-bucket-region") if isinstance(headers, dict) else None
    return _text(named or answer_of(exc, "Error").get("Region") or "another one")


def answer_of(exc: Exception, part: str) -> dict[str, object]:
    """Return a part of S3's answer as a dict, even if a proxy changed the answer."""
    response = getattr(exc, "response", None)
    found = response.get(part) if isinstance(response, dict) else None
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    try:
        return " ".join(str(value).split())[:_CAUSE_LENGTH]
    except Exception:  # noqa: BLE001 - formatting must not mask the error
        return "(no description)"
