"""No message makes a door of the library name a key outside of its store, or block its worker."""

import json
from time import process_time

import pytest
from door_messages import OWN, RECORD, STORES, in_place  # noqa: F401 - a fixture
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.claimcheck.handles.late_arguments import StoredText, StoredValue
from pipeline.claimcheck.keys import ttl_days_of
from pipeline.claimcheck.sharing import Shared
from pipeline.doors import (
    ForeignMessage,
    eventbridge,
    extended_client,
    plain_claims,
    s3_notifications,
    sns,
)
from pipeline.doors.setup import check
from pipeline.errors import MalformedError

DOORS = {
    "s3": s3_notifications("t", store="uploads"),
    "minio": s3_notifications("t", store="uploads", keys="minio"),
    "claims": plain_claims("t", store="uploads"),
    "extended": extended_client("t", store="uploads", bare=True, deletes=True),
    "sns": sns("t", attributes=("x",), stores=("uploads",)),
    "raw sns": sns("t", attributes=("x",), raw=True, stores=("uploads",)),
    "eventbridge": eventbridge("t", fields=("id", "resources"), stores=("uploads",)),
    "detail": eventbridge("t", bare=True, stores=("uploads",)),
}


def of_one_shape():
    """Return messages that are nearly right: keys, buckets and sizes are anything."""
    text = st.text() | st.sampled_from(["amzn-s3-demo-bucket", "input/x", "input/../x", "input%2F%2e%2e%2fx"])
    value = st.none() | st.integers() | text | st.floats() | st.booleans()
    found = st.fixed_dictionaries({"key": value}, optional={"size": value, "eTag": value, "versionId": value})
    s3 = st.fixed_dictionaries({"bucket": st.fixed_dictionaries({"name": text}), "object": found})
    record = st.fixed_dictionaries({"eventName": value, "s3": s3})
    pointer = st.fixed_dictionaries({"s3BucketName": text, "s3Key": text})
    claim = st.fixed_dictionaries({"s3_key": value}, optional={"payload_size": value, "metadata": value})
    return st.fixed_dictionaries({"Records": st.lists(record)}) | claim | pointer | of_events(value)


def of_events(value):
    """Return events with claims and handles that are nearly right, wrapped and bare."""
    keys = value | st.sampled_from([OWN, f"{OWN}.ledger", "v1/" + OWN[-54:], "input/x", "input/../x"])
    stores = st.sampled_from(["default", "uploads", "old", "unknown"]) | value
    handle = st.fixed_dictionaries(
        {"store": stores, "key": keys}, optional={"id": value, "uses": value, "size_bytes": value}
    )
    event = st.dictionaries(st.sampled_from(["claimcheck", "claimcheck-handle"]), handle | value)
    attributes = st.dictionaries(st.just("x"), st.fixed_dictionaries({"Type": value, "Value": value}) | value)
    fields = {"Type": st.just("Notification"), "MessageId": st.text(), "Message": event.map(json.dumps)}
    wrapped = st.fixed_dictionaries(fields, optional={"MessageAttributes": attributes})
    detail = {"id": st.text(), "source": st.text(), "detail-type": st.text(), "detail": event}
    return event | wrapped | st.fixed_dictionaries(detail, optional={"resources": value})


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=3 * settings.default.max_examples)
@given(
    door=st.sampled_from(sorted(DOORS)),
    body=st.text() | (of_one_shape() | ANY_JSON).map(json.dumps),
    attributes=st.dictionaries(st.sampled_from(["ExtendedPayloadSize", "x"]), st.text() | st.binary()),
)
def test_no_message_leads_outside(door, body, attributes):
    """Whatever the bytes, a door is malformed or names keys below its store's prefix alone."""
    try:
        found = list(DOORS[door](ForeignMessage(body, attributes, "id", "queue")))
    except MalformedError:
        return
    for call in found:
        for each in call.args:
            is_found = isinstance(each, StoredText | StoredValue | Shared)
            handle = each.handle if is_found else each
            if hasattr(handle, "key"):
                assert_allowed(handle)
            assert not isinstance(each, StoredValue | Shared) or handle.store == "default"


def assert_allowed(handle):
    """Say that a handle names a payload of the app itself, or an object below the listed store's prefix."""
    if handle.store == "default":
        assert ttl_days_of(handle.key, "")
        return
    assert handle.store == "uploads"
    assert handle.key.startswith("input/")
    assert not {".", ".."} & set(handle.key.split("/"))


LARGE = 1_048_576
LARGE_BODIES = {
    "records": json.dumps({"Records": [RECORD] * (LARGE // len(json.dumps(RECORD)))}),
    "small records": json.dumps(
        {
            "Records": [
                {
                    "eventName": "x",
                    "s3": {"bucket": {"name": "amzn-s3-demo-bucket"}, "object": {"key": "input/x"}},
                }
            ]
            * 10_000
        }
    ),
    "maps": '{"s3_key":"input/x","more":[' + ",".join(["{}"] * 300_000) + "]}",
    "lists": "[" + ",".join(["[]"] * 300_000) + "]",
    "brackets": "[" * LARGE,
    "numbers": '{"Records":[' + "1," * 500_000 + "1]}",
    "a long number": '{"Records":' + "9" * LARGE + "}",
    "escapes": '"' + "\\u0041" * (LARGE // 6) + '"',
    "a text": "x" * LARGE,
    "a notification": json.dumps(
        {"Type": "Notification", "MessageId": "1", "Message": json.dumps([{}] * (LARGE // 5))}
    ),
    "attributes": json.dumps(
        {
            "Type": "Notification",
            "MessageId": "1",
            "Message": "{}",
            "MessageAttributes": {str(n): {"Type": "String", "Value": "x"} for n in range(25_000)},
        }
    ),
    "an event": json.dumps(
        {"id": "1", "source": "s", "detail-type": "t", "detail": {"more": [{}] * (LARGE // 5)}}
    ),
    "a large claim": json.dumps({"claimcheck": {"more": [{}] * (LARGE // 5)}}),
    "a wrapped text": json.dumps({"Type": "Notification", "Message": "\\" * (LARGE // 4)}),
}
"""Messages as large as SQS takes them."""


@pytest.mark.parametrize("body", LARGE_BODIES)
@pytest.mark.parametrize("door", DOORS)
def test_no_message_holds_up_a_door(door, body):
    """A message of 1 MiB takes a door less than 100 ms of CPU, at the best of three."""
    message = ForeignMessage(LARGE_BODIES[body], {}, "id", "queue")

    assert min(seconds(DOORS[door], message) for _ in range(3)) < 0.1


def seconds(door, message):
    start = process_time()
    try:
        for number, _ in enumerate(door(message)):
            if number == 1_000:
                break
    except MalformedError:
        pass
    return process_time() - start


@pytest.mark.parametrize(
    ("door", "why"),
    [
        (s3_notifications("t", store="downloads"), "not among the stores"),
        (s3_notifications("t", store="memory"), "has no bucket"),
        (extended_client("t", store=("uploads", "memory")), "has no bucket"),
    ],
)
def test_a_store_that_a_door_cannot_use(door, why):
    """A door of a store that install does not know, or that has no bucket, is an error of install."""
    with pytest.raises(ValueError, match=why):
        check({"queue": door}, {**STORES, "memory": object()})


def test_a_store_without_a_bucket_for_claims():
    """Plain claims name no bucket, so their store may be of any kind."""
    check({"queue": plain_claims("t", store="memory")}, {**STORES, "memory": object()})
