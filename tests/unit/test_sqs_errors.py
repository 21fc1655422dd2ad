"""The table of what SQS answers."""

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ParamValidationError, ReadTimeoutError

from pipeline.transport import certainly_not_sent, sqs_errors
from pipeline.transport.sqs_errors import ABSENT, BROKEN, BUSY, DENIED, EXPIRED, MISTAKE, SKEWED, STALE


@pytest.mark.parametrize(
    ("code", "status", "meaning"),
    [
        ("ExpiredToken", 403, EXPIRED),
        ("InvalidAccessKeyId", 403, EXPIRED),
        ("com.amazonaws.sqs#InvalidClientTokenId", 403, EXPIRED),
        ("RequestTimeTooSkewed", 403, SKEWED),
        ("Throttling", 400, BUSY),
        ("AWS.SimpleQueueService.RequestThrottled", 400, BUSY),
        ("SomethingThrottled", 400, BUSY),
        ("Whatever", 429, BUSY),
        ("Whatever", 502, BROKEN),
        ("Whatever", 403, DENIED),
        ("Whatever", 400, MISTAKE),
        ("AWS.SimpleQueueService.NonExistentQueue", 400, ABSENT),
        ("InvalidParameterValue", 400, STALE),
    ],
)
def test_a_code_has_one_meaning(code, status, meaning):
    """Old and new spellings are one code, and an unknown one is judged by its status."""
    metadata = {"HTTPStatusCode": status}
    exc = ClientError({"Error": {"Code": code}, "ResponseMetadata": metadata}, "SendMessage")

    assert sqs_errors.meaning_of(exc) is meaning
    assert certainly_not_sent(exc) is (status < 500)


@pytest.mark.parametrize(
    ("error", "certain", "transient"),
    [
        (NoCredentialsError(), True, False),
        (ParamValidationError(report="x"), True, False),
        (ReadTimeoutError(endpoint_url="x"), False, True),
        (OSError("reset"), False, True),
        (RuntimeError("unforeseen"), False, True),
    ],
)
def test_silence_has_a_meaning_too(error, certain, transient):
    """What never left this process was certainly not done; what was not answered may have been."""
    meaning = sqs_errors.meaning_of(error)

    assert (meaning.is_certain, meaning.is_transient) == (certain, transient)
    assert meaning.remedy
