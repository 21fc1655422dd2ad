"""Checks of the store: it answers, accepts the credentials, has the bucket, and allows what a worker does."""

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from pipeline.admin.bucket import is_about
from pipeline.admin.doctor.check import Check
from pipeline.claimcheck.keys import new_key
from pipeline.errors import PayloadMissingError, StoreError, StoreUnavailableError
from pipeline.stores.dynamodb.items import TTL_ATTRIBUTE
from pipeline.stores.dynamodb.store import DynamoDBStore
from pipeline.stores.protocol import Store
from pipeline.stores.s3.store import S3Store
from pipeline.transport.sqs_errors import NO_CREDENTIALS, NOT_FETCHED, meaning_of

CREDENTIALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch")
"""S3 error codes that mean wrong credentials."""

ACTIONS = {
    "list": "s3:ListBucket",
    "put": "s3:PutObject",
    "get": "s3:GetObject",
    "delete": "s3:DeleteObject",
}
"""S3's action for each method of a store. A worker needs all of them."""

PROBE = b"claimcheck"


def check_store(store: Store, program: str) -> Iterator[Check]:
    """Call each method of the store with a test object, and yield the results.

    Args:
        store: the app's.
        program: the ``pipeline`` command for this app, for remedies.
    """
    failures = _failures(store)
    if isinstance(store, S3Store):
        yield from _of_bucket(failures, program)
        if not any(failures.values()):
            yield Check("payload client", True, store.payloads_go_through(), "")  # noqa: FBT003
        return
    for verb, error in failures.items():
        fix = "fix what the error names: a missing directory or table, a permission, or a full disk"
        yield Check(f"store: {verb}", error is None, str(error or ""), fix)
    if isinstance(store, DynamoDBStore):
        yield _of_ttl(store)


def _of_ttl(store: DynamoDBStore) -> Check:
    """Return the check of the table's TTL, which removes payloads that nothing else does."""
    fix = f"switch it on, with the attribute {TTL_ATTRIBUTE!r}, as deploy/table.yaml does"
    try:
        return Check("table: time to live", store.expires(), store.table, fix)
    except StoreError as exc:
        return Check("table: time to live", None, str(exc), "allow dynamodb:DescribeTimeToLive")


def _of_bucket(failures: dict[str, StoreError | None], program: str) -> Iterator[Check]:
    errors = [error for error in failures.values() if error]
    rejected = next((error for error in errors if is_about(error, *CREDENTIALS)), None)
    unavailable = next((error for error in errors if isinstance(error, StoreUnavailableError)), None)
    if unavailable and not rejected:
        yield _unavailable(unavailable)
        return
    yield Check("credentials", rejected is None, str(rejected or ""), _fix_of_credentials(rejected))
    if rejected:
        return
    missing = next((error for error in errors if is_about(error, "NoSuchBucket")), None)
    fix = "correct its name in store=, or create it as deploy/README.md says; for development:"
    yield Check("bucket", missing is None, str(missing or ""), fix, f"{program} provision")
    if missing:
        return
    redirected = next((error for error in errors if is_about(error, "PermanentRedirect")), None)
    if redirected:
        fix = "give this process the bucket's own region, as AWS_DEFAULT_REGION or in its profile"
        yield Check("region", False, str(redirected), fix)  # noqa: FBT003
        return
    for verb, error in failures.items():
        action = ACTIONS[verb]
        yield Check(action, error is None, str(error or ""), f"allow {action} as in deploy/roles.yaml")


def _unavailable(error: StoreError) -> Check:
    """Return the check of a store that is unavailable."""
    fix, command = "the store did not answer: check network, proxy, region, and AWS_ENDPOINT_URL", ""
    if is_about(error, "RequestTimeTooSkewed"):
        fix, command = "set this machine's clock:", "sudo chronyc makestep"
    elif isinstance(error.__cause__, ClientError):
        fix = "none on this side: S3 answered that it cannot serve now; try again later"
    return Check("store", False, str(error), fix, command)  # noqa: FBT003


def _fix_of_credentials(error: StoreError | None) -> str:
    if error is not None and error.__cause__ is not None:
        meaning = meaning_of(error.__cause__)  # errors that botocore itself raises, for any service
        if meaning in {NO_CREDENTIALS, NOT_FETCHED}:
            return meaning.remedy
    return "S3 rejected them: check key, secret, session token and clock, or renew them"


def _failures(store: Store) -> dict[str, StoreError | None]:
    """Return the error of each method, or None. After an unavailable store the rest is skipped."""
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
        return None  # the put failed, but the get was permitted
    except StoreError as exc:
        return exc
    return None


def _delete(store: Store, key: str) -> None:
    if store.delete([key]):
        raise StoreError(f"payload not deleted [key={key}]: delete it by hand")
