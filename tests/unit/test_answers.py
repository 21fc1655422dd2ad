"""When a failed publish is certain, and when it is not."""

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from kombu.exceptions import EncodeError, OperationalError

from pipeline.transport import certainly_not_sent


def answer(status, attempts=0):
    metadata = {"HTTPStatusCode": status, "RetryAttempts": attempts}
    return ClientError({"Error": {"Code": "X"}, "ResponseMetadata": metadata}, "SendMessage")


def wrapped(cause):
    error = OperationalError("wrapped")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("error", [EncodeError("x"), answer(400), answer(403), wrapped(answer(400))])
def test_a_rejection_is_certain(error):
    """Nothing was sent, or the first answer was that it is the caller's mistake."""
    assert certainly_not_sent(error)


@pytest.mark.parametrize(
    "error",
    [
        answer(500),
        answer(503),
        answer(400, attempts=1),
        wrapped(answer(500)),
        ReadTimeoutError(endpoint_url="http://sqs"),
        OSError("connection reset"),
    ],
)
def test_everything_else_is_not(error):
    """After a timeout, a server error or a repetition the message may be on the queue."""
    assert not certainly_not_sent(error)
