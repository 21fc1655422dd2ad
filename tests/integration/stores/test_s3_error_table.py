"""Each error of S3 and botocore becomes one of ours, with place, cause and remedy."""

import pickle

import pytest
from botocore import exceptions as boto
from botocore.exceptions import ClientError
from botocore.retries.standard import ThrottledRetryableChecker
from urllib3.exceptions import SSLError

from pipeline.errors import (
    PayloadMissingError,
    StoreDeniedError,
    StoreUnavailableError,
)
from pipeline.stores.aws.errors import CLASSES
from pipeline.stores.s3.error_table import CODES, KEY_TAKEN_CODES, TABLE


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
    """Transient and unknown codes are retryable, and the others are final."""
    assert {TABLE.meaning_of(client_error(code)).error for code in codes} == {error}


def vendor_classes():
    return [
        kind
        for kind in vars(boto).values()
        if isinstance(kind, type) and issubclass(kind, boto.BotoCoreError | ClientError)
    ]


@pytest.mark.parametrize("kind", [*vendor_classes(), SSLError])
def test_every_class_has_its_error(kind):
    """Every exception class of botocore, of later versions too, becomes one of ours."""
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
