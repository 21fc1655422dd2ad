"""The parts of Lambda's handlers that need no queue: records, time, enrichments."""

import json
from math import inf

import pytest
from lambda_events import SAMPLE, upper

from pipeline.aws_lambda import Enrichment
from pipeline.aws_lambda.invocation import Invocation
from pipeline.aws_lambda.records import Arn, sqs_message
from pipeline.claimcheck.claim_token import FIELD as CLAIM
from pipeline.errors import ClaimError, PayloadMissingError
from pipeline.stores.memory import MemoryStore

ORDER = {"kind": "order", "lines": ["x" * 1_000] * 10, "total": 12.5}
KEY = b"a secret of 16 bytes or more"


def test_a_record_is_a_message_of_sqs():
    """A record of AWS's documented event reads as what ReceiveMessage returns."""
    assert sqs_message(SAMPLE) == {
        "MessageId": SAMPLE["messageId"],
        "ReceiptHandle": SAMPLE["receiptHandle"],
        "Body": SAMPLE["body"],
        "Attributes": SAMPLE["attributes"],
        "MessageAttributes": {
            "myAttribute": {
                "DataType": "String", "StringValue": "myValue", "StringListValues": [], "BinaryListValues": []
            }
        },
    }  # fmt: skip
    assert Arn.of(SAMPLE) == Arn("123456789012", "my-queue")


def test_a_record_in_the_other_case():
    """A record with SQS's names of fields is the same message."""
    other = upper(SAMPLE)
    other["MessageAttributes"] = {name: upper(each) for name, each in SAMPLE["messageAttributes"].items()}

    assert sqs_message(other) == sqs_message(SAMPLE)


def test_binary_attributes_are_bytes():
    """Lambda writes binary attributes in Base64, and boto3 returns bytes."""
    attributes = {"trace": {"binaryValue": "AAEC", "dataType": "Binary"}}

    [found] = sqs_message({**SAMPLE, "messageAttributes": attributes})["MessageAttributes"].values()
    assert found == {"BinaryValue": b"\0\1\2", "DataType": "Binary"}


def test_missing_fields_are_empty():
    """A record without a receipt handle or attributes is a message without them."""
    message = sqs_message({"messageId": "1", "body": "text", "receiptHandle": None})

    assert (message["ReceiptHandle"], message["Attributes"], message["MessageAttributes"]) == ("", {}, {})


def test_time_is_reserved():
    """A tenth of the invocation is reserved, 3 seconds at most."""
    assert 0.8 < Invocation(1.0).seconds <= 0.9
    assert 296.9 < Invocation(300.0).seconds <= 297.0
    assert Invocation.of(None).seconds == inf


def test_the_first_task_always_begins():
    """The first task of an invocation begins whatever its limit; later ones if their limit fits."""
    invocation = Invocation(10.0)

    assert invocation.has_time_for(60)
    assert not invocation.has_time_for(60)
    assert invocation.has_time_for(5)
    assert invocation.has_time_for(0)


def envelope(event):
    """Return a record of a queue that an event bus has sent an event to."""
    return {**SAMPLE, "body": json.dumps({"detail-type": "order", "source": "shop", "detail": event})}


def test_split_and_retrieve():
    """A payload is away while its claim travels, with the fields that rules need, and comes back equal."""
    enrichment = Enrichment("memory://enrichments", keep=["kind", "absent"])
    [event] = enrichment.split([{**SAMPLE, "body": json.dumps(ORDER)}])

    assert len(json.dumps(event)) < 800
    assert event["metadata"] == {"kind": "order"}
    assert event["payload_size"] >= len(json.dumps(ORDER))
    [found] = enrichment.retrieve([envelope(event)])
    assert found == {"detail-type": "order", "source": "shop", "detail": ORDER}


@pytest.mark.parametrize("body", ["plain text", '{"a": NaN}', "12", "[1, 2]", '{"a": 1, "a": 2}'])
def test_any_body(body):
    """A body of any text comes back, as the value that it is in JSON."""
    enrichment = Enrichment("memory://enrichments")
    [event] = enrichment.split([{**SAMPLE, "body": body}])

    [found] = enrichment.retrieve([{**SAMPLE, "body": json.dumps(event)}])
    assert found == (body if body in {"plain text", '{"a": NaN}'} else json.loads(body))


def test_one_record_without_a_claim_fails_its_batch():
    """A pipe takes no partial failure from an enrichment: all records of the call are delivered again."""
    enrichment = Enrichment("memory://enrichments")
    [event] = enrichment.split([{**SAMPLE, "body": json.dumps(ORDER)}])

    with pytest.raises(ClaimError):
        enrichment.retrieve([envelope(event), envelope({"kind": "small"})])


def test_one_event():
    """An event that is no array, as other services send it, gives one event."""
    enrichment = Enrichment("memory://enrichments")

    assert enrichment.retrieve(enrichment.split(ORDER)) == ORDER


@pytest.mark.parametrize("event", [{}, {"detail": {}}, {CLAIM: 1}, {CLAIM: "not Base64!"}, {CLAIM: "AAAA"}])
def test_no_claim(event):
    """An event without a claim that can be read is an error, which makes the pipe try again."""
    with pytest.raises(ClaimError):
        Enrichment("memory://enrichments").retrieve(event)


def test_a_forged_claim():
    """With a signing key, a claim that was signed with another one is an error."""
    store = MemoryStore("app")
    event = Enrichment(store, signing_key=KEY[::-1]).split(ORDER)

    with pytest.raises(ClaimError, match="wrong signature"):
        Enrichment(store, signing_key=KEY).retrieve(event)


def test_an_expired_payload():
    """An event that outlives its payload ends in one clear error."""
    store = MemoryStore("app")
    event = Enrichment(store).split(ORDER)
    store.delete([found.key for found in store.list()])

    with pytest.raises(PayloadMissingError):
        Enrichment(store).retrieve(event)
