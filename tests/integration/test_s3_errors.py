"""What S3's failures become: each code of the table, and real answers, broken ones and lost ones."""

import pickle
import random
import time

import proxy as doubles
import pytest
from botocore import exceptions as boto
from botocore.exceptions import ClientError
from botocore.retries.standard import ThrottledRetryableChecker
from urllib3.exceptions import SSLError

from pipeline.errors import (
    PayloadCorruptError,
    PayloadMissingError,
    StoreDeniedError,
    StoreUnavailableError,
)
from pipeline.stores.aws.errors import CLASSES
from pipeline.stores.s3.error_table import CODES, KEY_TAKEN_CODES, TABLE
from pipeline.stores.s3.reading import READS_COUNT
from pipeline.stores.s3.store import S3Store

KIB, MIB = 1024, 1024**2


@pytest.fixture
def store(aws, proxy):
    """A store behind a proxy, on each stand-in."""
    store = S3Store(aws.bucket(), "app", timeout_seconds=5)
    yield store
    store.close()


@pytest.fixture
def refused(proxy):
    """A store that nobody asks, as the proxy answers."""
    store = S3Store("payloads", "app", timeout_seconds=5)
    yield store
    store.close()


def xml(code, more=""):
    return f"<Error><Code>{code}</Code><Message>because</Message>{more}</Error>".encode()


def deaf_to_ranges(link, request, content):
    """Forward a request without its range, as if the server did not know what that is."""
    head = link.head
    link.head = doubles.Head([head.start, *(line for line in head.lines if b"range:" not in line.lower())])
    return doubles._pass(link, request, content)


def stall(link, request, content):
    """Send half of an answer, and then nothing."""
    with link.forwarded(request, content) as answer:
        for piece in answer.half():
            link.client.sendall(piece)
        time.sleep(2)
    return False


def payload_of(size_bytes):
    return random.Random(size_bytes).randbytes(size_bytes)


def client_error(code, status=400, **more):
    answer = {"Error": {"Code": code, "Message": "because"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer | more, "GetObject")


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_its_error(code):
    """Each code of the table becomes its error: fact, place, cause and remedy, in a message that pickles."""
    error = TABLE.explain(client_error(code), "bucket=b, key=k", "eu-west-1")

    assert type(error) is CODES[code].error
    assert str(error).startswith(f"{CODES[code].fact} [bucket=b, key=k]: S3 answered {code} (400) because; ")
    assert "{" not in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("error", "codes"),
    [
        (PayloadMissingError, ["NoSuchKey", "404"]),
        (
            StoreDeniedError,
            ["NoSuchBucket", "AccessDenied", "403", "301"],
        ),
        (StoreDeniedError, ["SignatureDoesNotMatch", "PermanentRedirect", "AuthorizationHeaderMalformed"]),
        (StoreDeniedError, ["IllegalLocationConstraintException", "KMS.DisabledException"]),
        (StoreUnavailableError, ["SlowDown", "InternalError", "503", "KMS.ThrottlingException"]),
        (StoreUnavailableError, ["InvalidAccessKeyId", "ExpiredToken", "RequestTimeTooSkewed"]),
        (StoreUnavailableError, ThrottledRetryableChecker._THROTTLED_ERROR_CODES),
        (StoreUnavailableError, ["ConditionalRequestConflict", "NoSuchUpload", "NeverHeardOf", "", None]),
    ],
)
def test_what_may_pass_and_what_will_not(error, codes):
    """What time may mend is retryable, and so is what nobody has heard of; the rest is not."""
    assert {TABLE.meaning_of(client_error(code)).error for code in codes} == {error}


def vendor_classes():
    return [
        kind
        for kind in vars(boto).values()
        if isinstance(kind, type) and issubclass(kind, boto.BotoCoreError | ClientError)
    ]


@pytest.mark.parametrize("kind", [*vendor_classes(), SSLError])
def test_every_class_has_its_error(kind):
    """Whatever botocore can raise, now or after an upgrade, becomes one of ours, and never fails to."""
    error = TABLE.explain(kind.__new__(kind), "bucket=b, key=k", "eu-west-1")

    assert type(error) in {StoreDeniedError, StoreUnavailableError}
    assert "[bucket=b, key=k]: " in str(error)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_of_the_table_is_met(kind):
    """Each class of the table is looked up before its ancestors are."""
    assert TABLE.meaning_of(kind.__new__(kind)) is CLASSES[kind]


@pytest.mark.parametrize("answer", [None, "text", {}, {"Error": None}, {"Error": {"Code": 7}}])
def test_text_never_fails(answer):
    """An answer of any shape is explained, however little it says."""
    error = client_error("x")
    error.response = answer

    assert str(TABLE.explain(error, "bucket=b", "eu-west-1")).startswith(
        "store unavailable [bucket=b]: S3 answered"
    )


def test_a_text_that_fails():
    """An error that cannot even be printed is reported by its class."""

    class Mute(boto.BotoCoreError):
        def __str__(self):
            raise KeyError("fmt")

    assert "Mute: (no description); " in str(TABLE.explain(Mute(), "bucket=b", "eu-west-1"))


def test_codes_of_a_taken_key_are_known():
    """The codes that put looks into are in the table too."""
    assert set(CODES) >= KEY_TAKEN_CODES


VERBS = [
    pytest.param(lambda store: store.put("app/a", b"a", {}), id="put"),
    pytest.param(lambda store: store.put("app/a", bytes(17 * MIB), {}), id="put-parts"),
    pytest.param(lambda store: store.get("app/a", 1), id="get"),
    pytest.param(lambda store: store.get("app/a", 20 * MIB), id="get-ranges"),
    pytest.param(lambda store: store.delete(["app/a", "app/b"]), id="delete"),
    pytest.param(lambda store: list(store.list()), id="list"),
]


def result(*errors):
    """Return DeleteObjects' answer, whose status is 200 whatever became of the keys."""
    said = "".join(f"<Error><Key>{key}</Key><Code>{code}</Code></Error>" for key, code in errors)
    return f"<DeleteResult>{said}</DeleteResult>".encode()


def test_keys_that_must_not_be_deleted(refused, proxy):
    """A bucket policy or an object lock refuses key by key: what will stay is told from what may yet go."""
    proxy.fail(
        "DeleteObjects", status=200, content=result(("app/a", "InternalError"), ("app/b", "AccessDenied"))
    )
    left = refused.delete(["app/a", "app/b", "app/c"])

    assert {key: type(why) for key, why in left.items()} == {
        "app/a": StoreUnavailableError,
        "app/b": StoreDeniedError,
    }
    assert "keys=1]: S3 answered AccessDenied; allow s3:DeleteObject" in str(left["app/b"])


def test_keys_that_could_not_be_deleted(refused, proxy):
    """What S3 could not do now is returned, to be tried again."""
    proxy.fail("DeleteObjects", status=200, content=result(("app/a", "InternalError")))

    assert list(refused.delete(["app/a", "app/b"])) == ["app/a"]


@pytest.mark.parametrize("call", VERBS)
def test_missing_bucket(aws, call):
    """A bucket that does not exist refuses every verb, by name."""
    store = S3Store("there-is-no-such-bucket", "app")
    with pytest.raises(StoreDeniedError, match=r"bucket does not exist \[bucket=there-is-no-such-bucket"):
        call(store)
    store.close()


@pytest.mark.parametrize("call", VERBS)
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDenied", "s3:ListBucket"),
        ("SignatureDoesNotMatch", "valid credentials"),
        ("KMS.DisabledException", "kms_key_id"),
    ],
)
def test_denied(proxy, refused, call, code, words):
    """A refusal is final for every verb, and says what to do; a 403 hints at keys that are only missing."""
    proxy.fail(status=403, content=xml(code))

    with pytest.raises(StoreDeniedError, match=words) as caught:
        call(refused)
    assert code in str(caught.value)
    assert isinstance(caught.value.__cause__, ClientError)


@pytest.mark.parametrize("call", VERBS)
@pytest.mark.parametrize(
    ("status", "code"), [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")]
)
def test_wrong_region(proxy, refused, call, status, code):
    """A bucket in another region is final, and the message names both regions."""
    proxy.fail(status=status, content=xml(code, "<Region>us-west-2</Region>"))

    ours = refused._clients.get().meta.region_name
    with pytest.raises(StoreDeniedError, match=f"region {ours} and the bucket is in us-west-2"):
        call(refused)


def test_no_credentials(proxy, refused, monkeypatch, tmp_path):
    """A process without credentials is refused before it asks."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))

    with pytest.raises(StoreDeniedError, match=r"rejected the credentials.*NoCredentialsError"):
        refused.get("app/a", 1)
    assert proxy.requests == []


def test_half_of_the_credentials(refused, monkeypatch):
    """An access key without its secret is refused."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(StoreDeniedError, match="PartialCredentialsError"):
        refused.get("app/a", 1)


def test_no_such_profile(refused, monkeypatch):
    """A profile that nobody has written is a matter of configuration, even before there is a client."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(StoreDeniedError, match="ProfileNotFound"):
        refused.get("app/a", 1)


@pytest.mark.parametrize("call", VERBS)
def test_connection_refused(proxy, refused, call):
    """An endpoint where nobody listens is unavailable, and may come back."""
    proxy.refuse()

    with pytest.raises(StoreUnavailableError, match="EndpointConnectionError"):
        call(refused)


@pytest.mark.parametrize("size_bytes", [300 * KIB, 17 * MIB])
def test_a_passing_503(proxy, store, size_bytes):
    """One 503, or one reset, on the way there and back is nobody's business."""
    payload = payload_of(size_bytes)
    rules = []
    for operation in ("PutObject" if size_bytes < MIB else "UploadPart", "GetObject"):
        rules += [proxy.fail(operation, 503, times=1), proxy.reset(operation, times=1)]

    store.put("app/a", payload, {})
    assert store.get("app/a", size_bytes) == payload
    assert [rule.used for rule in rules] == [1] * 4


def test_a_lasting_503(proxy, refused):
    """Three times 503 is unavailable, and the caller decides what to do."""
    proxy.fail(status=503, content=xml("ServiceUnavailable"))

    with pytest.raises(StoreUnavailableError, match=r"ServiceUnavailable \(503\) because; try again"):
        refused.get("app/a", 1)
    assert proxy.operations == {"GetObject": 3}


@pytest.mark.parametrize("verb", ["reset", "truncate"])
def test_a_broken_body_resumes(proxy, store, verb):
    """A connection that breaks in a body is taken up at the byte it had reached, of the same object."""
    payload = payload_of(300 * KIB)
    store.put("app/a", payload, {})
    getattr(proxy, verb)("GetObject", times=2)

    assert store.get("app/a", len(payload)) == payload
    first, *resumed = [request.headers for request in proxy.seen("GetObject")]
    assert "range" not in first
    assert len(resumed) == 2
    assert all(each["if-match"] for each in resumed)
    if verb == "truncate":
        assert [each["range"] for each in resumed] == ["bytes=153600-307199", "bytes=230400-307199"]


def test_a_stalled_body_resumes(aws, proxy):
    """A body that falls silent is taken up as well, after ``timeout_seconds``."""
    store, payload = S3Store(aws.bucket(), timeout_seconds=1), payload_of(5 * MIB)
    store.put("a", payload, {})
    proxy._order("stall", "GetObject", 1, stall)

    assert store.get("a", len(payload)) == payload
    assert proxy.seen("GetObject")[-1].headers["range"] == "bytes=2097152-5242879"
    store.close()


def test_broken_ranges_resume(proxy, store):
    """Ranges that break still make one payload."""
    payload = payload_of(40 * MIB)
    store.put("app/a", payload, {})
    proxy.truncate("GetObject", times=3)
    proxy.reset("GetObject", times=2)

    assert store.get("app/a", len(payload)) == payload
    assert proxy.operations["GetObject"] == 10


def test_a_body_that_breaks_for_ever(proxy, store):
    """A body that breaks again and again is unavailable, after a bounded number of requests."""
    store.put("app/a", payload_of(300 * KIB), {})
    proxy.truncate("GetObject")

    with pytest.raises(StoreUnavailableError, match=r"5 connections broke, the last at byte \d+ of 307200"):
        store.get("app/a", 300 * KIB)
    assert proxy.operations["GetObject"] == READS_COUNT


def test_an_object_that_changes_while_it_is_read(aws, proxy, store):
    """A second half is never read from another object than the first."""
    store.put("app/a", payload_of(300 * KIB), {})

    def overwritten(request):
        if "range" in request.headers:
            aws.client("s3").put_object(Bucket=store.bucket, Key="app/a", Body=bytes(300 * KIB))
        return False

    proxy.truncate("GetObject", times=1)
    proxy.delay(0, overwritten)

    with pytest.raises(PayloadCorruptError, match="another writer changed this object"):
        store.get("app/a", 300 * KIB)


def test_a_server_without_ranges(proxy, store):
    """A server that answers a range with the whole object is understood, also when it breaks off."""
    payload = payload_of(20 * MIB)
    store.put("app/a", payload, {})
    proxy.truncate("GetObject", times=1)
    proxy._order("deaf", "GetObject", None, deaf_to_ranges)

    assert store.get("app/a", len(payload)) == payload


def test_a_wrong_object_is_not_downloaded(store):
    """A size that differs is seen before the body is read, and the connection is given up."""
    store.put("app/a", bytes(20 * MIB), {})

    with pytest.raises(PayloadCorruptError, match=r"size 20971520 bytes, claimed 7"):
        store.get("app/a", 7)


@pytest.mark.parametrize(
    ("size_bytes", "operation"), [(1, "PutObject"), (17 * MIB, "CompleteMultipartUpload")]
)
def test_a_lost_answer_to_put(proxy, store, size_bytes, operation):
    """A put whose answer got lost is repeated, told that its key is taken, and has succeeded all the same."""
    payload = payload_of(size_bytes)
    proxy.lose(operation, times=1)

    store.put("app/a", payload, {})

    assert store.get("app/a", size_bytes) == payload
    assert proxy.operations[operation] == 2


@pytest.mark.parametrize("size_bytes", [1, 17 * MIB])
def test_a_foreign_object_is_refused(aws, store, size_bytes):
    """A key that somebody else has written is not ours, even if the size is the same."""
    aws.client("s3").put_object(Bucket=store.bucket, Key="app/a", Body=bytes(size_bytes))

    with pytest.raises(StoreDeniedError, match=r"does not overwrite .*key=app/a\]: another object has this"):
        store.put("app/a", payload_of(size_bytes), {})
    assert store.get("app/a", size_bytes) == bytes(size_bytes)


def test_a_taken_key_that_is_free_again(proxy, store):
    """A key that was taken, and holds nothing when looked at, is worth another try."""
    proxy.fail("PutObject", 412, times=1, content=xml("PreconditionFailed"))

    with pytest.raises(StoreUnavailableError, match="another object had the key and was deleted"):
        store.put("app/a", b"a", {})


def test_a_conflict_is_worth_another_try(proxy, store):
    """S3 asks those who write a key at the same time to come back."""
    proxy.fail("PutObject", 409, times=1, content=xml("ConditionalRequestConflict"))

    with pytest.raises(StoreUnavailableError, match="ConditionalRequestConflict"):
        store.put("app/a", b"a", {})
    store.put("app/a", b"a", {})


def second_part(request):
    return request.query.get("partNumber") == "2"


def test_a_failed_part_leaves_no_upload(aws, proxy, store):
    """An upload whose part is refused is aborted, so that nobody pays for it."""
    proxy.fail(second_part, 403, content=xml("AccessDenied"))

    with pytest.raises(StoreDeniedError, match="AccessDenied"):
        store.put("app/a", bytes(17 * MIB), {})
    assert not aws.client("s3").list_multipart_uploads(Bucket=store.bucket).get("Uploads")
    assert list(store.list()) == []


def test_an_abort_that_fails(proxy, store):
    """What went wrong with the upload is reported, not what went wrong with its abort."""
    proxy.fail(second_part, 403, content=xml("AccessDenied"))
    aborts = proxy.fail("AbortMultipartUpload", 403, content=xml("InvalidAccessKeyId"))

    with pytest.raises(StoreDeniedError, match="AccessDenied"):
        store.put("app/a", bytes(17 * MIB), {})
    assert aborts.used == 1


def test_a_connection_is_used_again(proxy, store):
    """Reading a payload gives its connection back, so that the next call need not make one."""
    payload = payload_of(300 * KIB)
    for number in range(3):
        store.put(f"app/{number}", payload, {})
        store.get(f"app/{number}", len(payload))

    assert len({request.client_port for request in proxy.requests}) == 1
