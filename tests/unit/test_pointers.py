"""The doors for plain claims and for AWS's SQS Extended Client."""

import json

import pytest
from door_messages import calls, in_place  # noqa: F401 - a fixture

from pipeline.claimcheck.handles.late_arguments import StoredText
from pipeline.doors import extended_client, plain_claims
from pipeline.errors import MalformedError


class TestPlainClaims:
    """Plain claim messages."""

    door = staticmethod(plain_claims("tasks.ingest", store="old"))

    def test_a_key(self):
        """A message with a key alone is a call with its handle, and no more."""
        [call] = calls(self.door, {"s3_key": "large_file.csv"})

        assert (call.args[0].key, call.args[1]) == ("large_file.csv", {})

    def test_a_claim_check(self):
        """A message with size and metadata is a call with both."""
        message = {
            "claim_check": "t/1",
            "metadata": {"a": 1},
            "payload_size": 7,
            "timestamp": "2026-01-01T00:00:00Z",
        }
        [call] = calls(self.door, message)

        assert (call.args[0].key, call.args[0].size_bytes) == ("t/1", 7)
        assert call.args[1] == {"metadata": {"a": 1}, "timestamp": "2026-01-01T00:00:00Z"}

    @pytest.mark.parametrize(
        "message",
        [
            {},
            {"S3_key": "x"},
            {"s3_key": "x", "claim_check": "x"},
            {"s3_key": 1},
            {"s3_key": ""},
            {"s3_key": "../x"},
            {"s3_key": "x", "payload_size": -1},
            [],
            "text",
            {"s3_key": "x", "more": "x" * 70_000},
        ],
    )
    def test_what_is_no_claim(self, message):
        """Anything else is malformed."""
        with pytest.raises(MalformedError):
            calls(self.door, message)


NEW = '["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"old-bucket","s3Key":"a-key"}]'
OLD = '["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3BucketName":"old-bucket","s3Key":"a-key"}]'
BARE = '{"s3BucketName":"old-bucket","s3Key":"a-key"}'


class TestExtendedClient:
    """AWS's SQS Extended Client."""

    door = staticmethod(extended_client("t", store=("uploads", "old"), deletes=True))
    bare = staticmethod(extended_client("t", store="old", bare=True))

    @pytest.mark.parametrize(
        ("body", "attribute"),
        [
            (NEW, "ExtendedPayloadSize"),
            (OLD, "SQSLargePayloadSize"),
            (NEW, "SQSLargePayloadSize"),
            (json.dumps(json.loads(NEW)), "ExtendedPayloadSize"),
        ],
    )
    def test_a_pointer(self, body, attribute):
        """A pointer, as Java or as Python writes it, is the text that it points to; the app deletes that."""
        [call] = calls(self.door, body, **{attribute: "12"})
        [text] = call.args

        assert isinstance(text, StoredText)
        assert (text.handle.store, text.handle.key, text.handle.size_bytes) == ("old", "a-key", 12)
        assert call.deletes == text.handle

    @pytest.mark.parametrize("body", ["text", NEW, OLD, BARE, ""])
    def test_an_ordinary_text(self, body):
        """Without the attribute a text is a text, also one that looks like a pointer."""
        [call] = calls(self.door, body)

        assert (call.args, call.deletes) == ([body], None)

    def test_two_stores_in_one_bucket(self):
        """A pointer may lead to any listed store, also if another one is in the same bucket."""
        door = extended_client("t", store=("uploads", "all"))
        body = NEW.replace("old-bucket", "amzn-s3-demo-bucket")

        assert calls(door, body, ExtendedPayloadSize="1")[0].args[0].handle.store == "all"

    @pytest.mark.parametrize("body", [NEW, OLD, BARE])
    def test_bare_pointers(self, body):
        """By choice a pointer needs no attribute and no class; what is none stays a text."""
        assert isinstance(calls(self.bare, body)[0].args[0], StoredText)
        assert calls(self.bare, "text")[0].args == ["text"]

    @pytest.mark.parametrize(
        ("body", "size"),
        [
            (NEW.replace("old-bucket", "other"), "1"),
            (NEW.replace("Key", "key"), "1"),
            (BARE, "1"),
            ("text", "1"),
            (NEW.replace("PayloadS3Pointer", "Other"), "1"),
            (NEW, "x"),
            (NEW, b"1"),
            (NEW, "9" * 5_000),
            (NEW, "1.0"),
            (NEW.replace("a-key", ""), "1"),
            (NEW.replace("old-bucket", "amzn-s3-demo-bucket"), "1"),
            (NEW.replace('"a-key"', '"a-key","more":1'), "1"),
            (NEW.replace("a-key", "k" * 9_000), "1"),
        ],
    )
    def test_what_is_no_pointer(self, body, size):
        """What has the attribute and does not point into a listed store is malformed."""
        with pytest.raises(MalformedError):
            calls(self.door, body, ExtendedPayloadSize=size)
