"""The bucket of an S3 store, for doctor and provision: existence, lifecycle rules, clock.

PutBucketLifecycleConfiguration replaces all rules of a bucket. So the library writes the rules only of a
bucket that it has just created.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from pipeline.admin.lifetimes import Lifetime, Rule
from pipeline.errors import StoreError
from pipeline.stores.aws.errors import code_of
from pipeline.stores.s3.error_table import CODES, TABLE
from pipeline.stores.s3.store import S3Store

_NO_RULES = "NoSuchLifecycleConfiguration"


class Bucket:
    """The bucket of a store, through the store's own client. All methods raise :class:`StoreError`."""

    def __init__(self, store: S3Store) -> None:
        self.name = store.bucket
        self.prefix = f"{store.prefix}/" if store.prefix else ""
        self._client: Any = store._clients.get()  # noqa: SLF001 - endpoint, region and credentials are the store's
        self._region = store._clients.region_name  # noqa: SLF001 - as above

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with TABLE.translated(f"bucket={self.name}", self._region):
            yield

    def exists(self) -> bool:
        """Return whether the bucket exists, in this account or another."""
        with self._translated():
            try:
                self._client.head_bucket(Bucket=self.name)
            except ClientError as exc:
                if code_of(exc) in {"404", "NoSuchBucket"}:
                    return False
                if code_of(exc) not in {"403", "301"}:
                    raise
        return True

    def create(self) -> None:
        """Create the bucket in the client's region, private by S3's default."""
        region = self._client.meta.region_name
        where: dict[str, Any] = {}
        if region != "us-east-1":  # S3 rejects this LocationConstraint. Source: S3 API, CreateBucket
            where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with self._translated():
            self._client.create_bucket(Bucket=self.name, **where)

    def expiries(self, rules: Iterable[Rule], folder: str) -> tuple[list[int], list[int]]:
        """Return days of expiry in a folder: of rules for the whole folder, and of rules for parts."""
        ours = self.prefix + folder
        whole, parts = list[int](), list[int]()
        for rule in rules:
            days, (prefix, is_for_all) = rule.get("Expiration", {}).get("Days"), _scope(rule)
            if rule.get("Status") != "Enabled" or days is None:
                continue
            if is_for_all and ours.startswith(prefix):
                whole.append(days)
            elif ours.startswith(prefix) or prefix.startswith(ours):
                parts.append(days)
        return whole, parts

    def rules(self) -> list[Rule]:
        """Return the bucket's lifecycle rules."""
        with self._translated():
            try:
                answer = self._client.get_bucket_lifecycle_configuration(Bucket=self.name)
            except ClientError as exc:
                if code_of(exc) == _NO_RULES:
                    return []
                raise
        return list(answer.get("Rules", ()))

    def completed(self, lifetimes: Iterable[Lifetime]) -> list[Rule]:
        """Return the bucket's rules plus the missing ones, which replace rules with the same ID."""
        rules = self.rules()
        lacking = [each for each in lifetimes if not each.is_kept(*self.expiries(rules, each.folder))]
        names = {each.name for each in lacking}
        added = [each.rule(self.prefix) for each in lacking]
        return [*(rule for rule in rules if rule.get("ID") not in names), *added]

    def put_rules(self, rules: Sequence[Rule]) -> None:
        """Replace all rules of the bucket: only for a bucket that was just created."""
        with self._translated():
            self._client.put_bucket_lifecycle_configuration(
                Bucket=self.name, LifecycleConfiguration={"Rules": list(rules)}
            )

    def lifecycle_command(self, rules: Sequence[Rule]) -> str:
        """Return the AWS CLI command that replaces all rules of the bucket with these."""
        rules_text = json.dumps({"Rules": rules}, default=datetime.isoformat)
        words = ("--bucket", self.name, "--lifecycle-configuration", rules_text)
        return shlex.join(("aws", "s3api", "put-bucket-lifecycle-configuration", *words))

    def skew_seconds(self) -> float:
        """Return how far this machine's clock is ahead of S3's ``Date`` header, which has whole seconds."""
        with self._translated():
            answer = self._client.list_objects_v2(Bucket=self.name, Prefix=self.prefix, MaxKeys=1)
        stated = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if not stated:
            return 0.0
        return (datetime.now(UTC) - parsedate_to_datetime(stated)).total_seconds()


def is_about(error: StoreError, *codes: str) -> bool:
    """Return whether an error means the same as one of these S3 error codes."""
    cause = error.__cause__
    if not isinstance(cause, Exception) or not _known(cause):
        return False
    return TABLE.meaning_of(cause) in [CODES[code] for code in codes]


def _known(cause: Exception) -> bool:
    return type(cause).__module__.startswith(("botocore", "urllib3"))


def _scope(rule: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the prefix of a rule, and whether the rule covers all objects below it."""
    chosen = rule.get("Filter") or {}
    chosen = chosen.get("And") or chosen
    return str(chosen.get("Prefix") or rule.get("Prefix") or ""), not set(chosen) - {"Prefix"}
