"""Checks of the store: whether it answers, knows us, is there, and lets us do what a worker does."""

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from pipeline.admin.bucket import is_about
from pipeline.admin.doctor.check import Check
from pipeline.claimcheck.claim import new_key
from pipeline.errors import PayloadMissingError, StoreError, StoreUnavailableError
from pipeline.stores.protocol import Store
from pipeline.stores.s3.store import S3Store
from pipeline.transport.sqs_errors import NO_CREDENTIALS, NOT_FETCHED, meaning_of

CREDENTIALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch")
"""Codes of S3's that stand for what it says of wrong credentials."""

ACTIONS = {
    "list": "s3:ListBucket",
    "put": "s3:PutObject",
    "get": "s3:GetObject",
    "delete": "s3:DeleteObject",
}
"""What S3 calls the verbs of a store. A worker needs all of them."""

PROBE = b"claimcheck"


def check_store(store: Store, program: str) -> Iterator[Check]:
    """Try each verb with an object of our own, and say why not.

    Args:
        store: the app's.
        program: the ``pipeline`` command for this app, to be printed.
    """
    failures = _failures(store)
    if isinstance(store, S3Store):
        yield from _of_bucket(failures, program)
        return
    for verb, error in failures.items():
        fix = "see what it says: a missing directory, a permission, or a disk that is full"
        yield Check(f"store: {verb}", error is None, str(error or ""), fix)


def _of_bucket(failures: dict[str, StoreError | None], program: str) -> Iterator[Check]:
    errors = [error for error in failures.values() if error]
    stranger = next((error for error in errors if is_about(error, *CREDENTIALS)), None)
    lost = next((error for error in errors if isinstance(error, StoreUnavailableError)), None)
    if lost and not stranger:
        yield _of_silence(lost)
        return
    yield Check("credentials", stranger is None, str(stranger or ""), _fix_of_credentials(stranger))
    if stranger:
        return
    gone = next((error for error in errors if is_about(error, "NoSuchBucket")), None)
    fix = "correct its name in store=, or make it as deploy/README.md says; for development:"
    yield Check("bucket", gone is None, str(gone or ""), fix, f"{program} provision")
    if gone:
        return
    elsewhere = next((error for error in errors if is_about(error, "PermanentRedirect")), None)
    if elsewhere:
        fix = "give this process the bucket's own region, as AWS_DEFAULT_REGION or in its profile"
        yield Check("region", False, str(elsewhere), fix)  # noqa: FBT003
        return
    for verb, error in failures.items():
        action = ACTIONS[verb]
        yield Check(action, error is None, str(error or ""), f"allow {action} as in deploy/iam-worker.json")


def _of_silence(error: StoreError) -> Check:
    """Return the check of a store that does not serve, or not at all."""
    fix, command = "no answer from there: check network, proxy, region, and AWS_ENDPOINT_URL", ""
    if is_about(error, "RequestTimeTooSkewed"):
        fix, command = "set this machine's clock:", "sudo chronyc makestep"
    elif isinstance(error.__cause__, ClientError):
        fix = "none here: S3 answers, and cannot serve now; try again later"
    return Check("store", False, str(error), fix, command)  # noqa: FBT003


def _fix_of_credentials(error: StoreError | None) -> str:
    if error is not None and error.__cause__ is not None:
        meaning = meaning_of(error.__cause__)  # of what botocore itself raises, whatever the service
        if meaning in {NO_CREDENTIALS, NOT_FETCHED}:
            return meaning.remedy
    return "S3 does not accept them: check key, secret, session token and clock, or renew them"


def _failures(store: Store) -> dict[str, StoreError | None]:
    """Return what each verb led to; a store that does not answer the first is asked no more."""
    key, failures = new_key(store.prefix), dict[str, StoreError | None]()
    failures["list"] = _failure(lambda: next(iter(store.list()), None))
    if not isinstance(failures["list"], StoreUnavailableError):
        failures["put"] = _failure(lambda: store.put(key, PROBE, {}))
        failures["get"] = _failure(lambda: store.get(key, len(PROBE)))
        failures["delete"] = _failure(lambda: _delete(store, key))
    return failures


def _failure(call: Callable[[], Any]) -> StoreError | None:
    try:
        call()
    except PayloadMissingError:
        return None  # the put failed, and this answer needed the permission to get
    except StoreError as exc:
        return exc
    return None


def _delete(store: Store, key: str) -> None:
    if store.delete([key]):
        raise StoreError(f"not deleted [key={key}]: delete it by hand")
