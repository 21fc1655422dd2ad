"""``pipeline doctor`` reports each fault of the store by its own check, with its fix."""

from datetime import datetime, timedelta

import pytest
from doctor_sample import RULE, examine, ill, sooner

from pipeline import put
from pipeline.admin import bucket
from pipeline.admin.doctor.store_checks import check_store
from pipeline.stores.dynamodb.store import DynamoDBStore

pytestmark = pytest.mark.aws

RESULTS = {**RULE, "ID": "results", "Filter": {"Prefix": "claims/results/"}, "Expiration": {"Days": 1}}


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("PutObject", "s3:PutObject"),
        ("GetObject", "s3:GetObject"),
        ("DeleteObjects", "s3:DeleteObject"),
        ("ListObjectsV2", "s3:ListBucket"),
    ],
)
def test_each_permission_is_checked(healthy, proxy, operation, action):
    """A permission that is missing is named, alone, with the policy that grants it."""
    proxy.fail(operation, status=403)
    code, checks = examine()

    assert (code, ill(checks)) == (1, [action])
    assert f"allow {action}" in checks[action]["fix"]


def test_wrong_credentials_are_one_finding(healthy, proxy):
    """Credentials that S3 does not know are one finding, not one for each permission."""
    answer = b"<Error><Code>InvalidAccessKeyId</Code></Error>"
    for operation in ("PutObject", "GetObject", "DeleteObjects", "ListObjectsV2"):
        proxy.fail(operation, status=403, content=answer)
    _, checks = examine()

    assert ill(checks) == ["credentials"]


def test_missing_credentials_are_one_finding(sample_of, moto_aws, monkeypatch):
    """A process without credentials has them to find, and neither network nor permissions."""
    sample_of(
        store=f"s3://{moto_aws.bucket()}/claims", broker="memory://", options={"store_retry_seconds": 1}
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    code, checks = examine()

    assert (code, ill(checks)) == (1, ["credentials"])
    assert checks["credentials"]["fix"].startswith("give this process credentials: aws configure")
    assert not {"store", "bucket", "s3:PutObject"} & checks.keys()


def test_a_store_that_does_not_answer_is_one_finding(sample_of, moto_aws, monkeypatch):
    """An unreachable store is one finding, without checks of credentials, bucket and permissions."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    sample = sample_of(store="s3://somewhere/claims")
    moto_aws.queue(sample.queue)
    code, checks = examine()

    assert (code, ill(checks)) == (1, [f"dead letters of {sample.queue}", "store"])
    assert checks["store"]["fix"].startswith("the store did not answer: check network, proxy, region")
    assert not {"credentials", "bucket", "s3:PutObject"} & checks.keys()


@pytest.mark.parametrize(
    ("status", "code", "name", "fix"),
    [
        (403, "RequestTimeTooSkewed", "store", "set this machine's clock:"),
        (503, "SlowDown", "store", "none on this side: S3 answered that it cannot serve now"),
        (301, "PermanentRedirect", "region", "give this process the bucket's own region"),
        (403, "SignatureDoesNotMatch", "credentials", "S3 rejected them: check key, secret"),
    ],
)
def test_what_s3_answers_has_its_own_fix(healthy, proxy, monkeypatch, status, code, name, fix):
    """Clock, overload, region and credentials are one finding each, and none suggests a permission."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    content = f"<Error><Code>{code}</Code></Error>".encode()
    for operation in ("PutObject", "GetObject", "DeleteObjects", "ListObjectsV2"):
        proxy.fail(operation, status=status, content=content)
    checks = examine()[1]

    assert ill(checks) == [name]
    assert checks[name]["fix"].startswith(fix)


def test_a_store_that_stops_answering_is_one_finding(healthy, proxy):
    """A server error is not a missing permission."""
    proxy.fail("PutObject", status=503)
    checks = examine()[1]

    assert ill(checks) == ["store"]
    assert healthy.sample.objects() == []


def test_a_bucket_that_is_not_there(sample_of, moto_aws):
    """A missing bucket is one finding, and what depends on it is unknown until there is one."""
    sample_of(store="s3://nobody-has-this-bucket/claims")
    code, checks = examine()

    assert code == 1
    assert ill(checks)[0] == "bucket"
    assert checks["bucket"]["command"] == "pipeline -A sample_app provision"
    for name in ("lifecycle rule", "clock"):
        assert (checks[name]["ok"], checks[name]["fix"]) == (None, "fix the store first")


@pytest.mark.parametrize(
    ("rules", "ok"),
    [
        ([{**RULE, "Filter": {"Prefix": ""}}], True),
        ([{**RULE, "Expiration": {"Days": 7}}], False),
        ([{**RULE, "Filter": {"Prefix": "other/"}}], False),
        ([{**RULE, "Status": "Disabled"}], False),
        (
            [RULE, {**RULE, "ID": "part", "Filter": {"Prefix": "claims/v1/"}, "Expiration": {"Days": 1}}],
            False,
        ),
        ([RULE, {**RULE, "ID": "tagged", "Filter": {"Tag": {"Key": "a", "Value": "b"}}}], True),
        ([RULE, sooner("other/")], True),
        ([RULE, sooner("claims/")], False),
        ([RULE, sooner("")], False),
        ([sooner("claims/")], False),
    ],
)
def test_the_lifecycle_rule_must_cover_and_wait(healthy, rules, ok):
    """A rule must be enabled, cover the prefix, and be no sooner than the payloads' TTL, as every other."""
    healthy.rules(*rules)

    assert examine()[1]["lifecycle rule"]["ok"] is ok


@pytest.mark.parametrize(
    ("rules", "expires", "ok"),
    [
        ([RULE, RESULTS], 86_400, True),
        ([RULE, RESULTS], 2 * 86_400, False),
        ([RULE], 86_400, False),
        ([RULE], 35 * 86_400, True),
        ([RULE], None, True),
        ([sooner("claims/v1/")], None, False),
    ],
)
def test_results_expire_as_celery_says(healthy, rules, expires, ok):
    """Large results are not to go before ``result_expires``, nor to stay for days after it."""
    healthy.sample.app.conf.update(result_serializer="claimcheck", result_expires=expires)
    healthy.rules(*rules)

    assert examine()[1]["lifecycle of results"]["ok"] is ok


@pytest.mark.parametrize(
    ("days", "ok"), [(None, False), (7, True), (8, True), (6, False), (35, False)], ids=str
)
def test_handles_expire_by_their_class(healthy, days, ok):
    """A TTL class that is used needs a rule for just its days; one that is not is not checked."""
    rule = {
        **RULE,
        "ID": "handles-7d",
        "Filter": {"Prefix": "claims/handles/7d/"},
        "Expiration": {"Days": days},
    }
    healthy.rules({**RULE, "Filter": {"Prefix": "claims/v1/"}}, *([rule] if days else []))
    put(b"x", ttl_days=7)
    checks = examine()[1]

    assert checks["lifecycle of handles-7d"]["ok"] is ok
    assert "lifecycle of handles-30d" not in checks


def test_no_lifecycle_rule_is_a_finding(healthy):
    """Without any rule, payloads that slip through stay for ever."""
    healthy.s3.delete_bucket_lifecycle(Bucket=healthy.bucket)

    assert ill(examine()[1]) == ["lifecycle rule"]


def test_a_lifecycle_rule_that_may_not_be_read_is_unknown(healthy, proxy):
    """Lifecycle rules that may not be read are unknown, and no finding."""
    proxy.fail("GetBucketLifecycleConfiguration", status=403)
    code, checks = examine()

    assert (code, checks["lifecycle rule"]["ok"]) == (0, None)
    assert checks["lifecycle rule"]["fix"] == "allow s3:GetLifecycleConfiguration for this check"


def test_a_wrong_clock_is_found(healthy, monkeypatch):
    """A clock that is more than a minute off is a finding, with the difference."""

    class Late(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(minutes=5)

    monkeypatch.setattr(bucket, "datetime", Late)
    checks = examine()[1]

    assert ill(checks) == ["clock"]
    assert checks["clock"]["detail"].startswith(("+300", "+299", "+301"))


def test_errors_without_a_cause_are_about_no_code():
    """An error that no answer of S3's has caused is about none of its codes."""
    from pipeline.errors import StoreError

    assert not bucket.is_about(StoreError("x"), "NoSuchBucket")


def test_a_table_without_its_ttl_is_found(aws):
    """A table whose items do not expire is a finding, with its remedy, and one whose items do is none."""
    store = DynamoDBStore(aws.table(), "app")
    *verbs, before = check_store(store, "pipeline")
    aws.client("dynamodb").update_time_to_live(
        TableName=store.table, TimeToLiveSpecification={"AttributeName": "expires", "Enabled": True}
    )
    *_, after = check_store(store, "pipeline")
    store.close()

    assert all(check.ok for check in verbs)
    assert (before.name, before.ok) == ("table: time to live", False)
    assert "deploy/table.yaml" in before.fix
    assert after.ok
