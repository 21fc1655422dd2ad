"""What each error of DynamoDB means."""

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from pipeline.errors import StoreDeniedError, StoreUnavailableError
from pipeline.stores.dynamodb.error_table import CODES, CONDITION_FAILED, TABLE

CALLS = ["BatchGetItem", "BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Scan"]


def client_error(code, status=400):
    answer = {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutItem")


@pytest.mark.parametrize("call", CALLS)
def test_every_code_of_a_call_is_in_the_table(call):
    """Each error that DynamoDB documents for a call of the store has a meaning, or is a failed condition."""
    model = boto3.client("dynamodb", region_name="eu-west-1").meta.service_model

    assert {shape.name for shape in model.operation_model(call).error_shapes} <= CODES.keys() | {
        CONDITION_FAILED
    }


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_sentence(code):
    """An error says what happened, to which object, why, and what to do."""
    error = TABLE.explain(client_error(code), "table=t, key=k", "eu-west-1")

    assert isinstance(error, (StoreDeniedError, StoreUnavailableError))
    assert f"[table=t, key=k]: DynamoDB answered {code} (400) why; " in str(error)


@pytest.mark.parametrize(
    ("exc", "kind"),
    [
        (client_error("ResourceNotFoundException"), StoreDeniedError),
        (client_error("AccessDeniedException"), StoreDeniedError),
        (client_error("ProvisionedThroughputExceededException"), StoreUnavailableError),
        (client_error("ExpiredTokenException"), StoreUnavailableError),
        (client_error("Surprise", 500), StoreUnavailableError),
        (EndpointConnectionError(endpoint_url="http://table"), StoreUnavailableError),
    ],
)
def test_what_may_pass_is_tried_again(exc, kind):
    """What a retry may cure is unavailable, as is an unknown error; what it cannot cure is denied."""
    assert type(TABLE.explain(exc, "table=t", "eu-west-1")) is kind
