"""The door for S3's event notifications: what it makes of them, however they are wrapped."""

import json
from copy import deepcopy

import pytest
from door_messages import BRIDGED, RECORD, TEST, calls, in_place  # noqa: F401 - a fixture

from pipeline.claimcheck.keys import object_task_id
from pipeline.doors import ForeignMessage, s3_notifications
from pipeline.errors import MalformedError


def notified(keys="aws", **changes):
    record = deepcopy(RECORD)
    record["s3"]["object"].update(changes)
    return calls(s3_notifications("t", store="uploads", keys=keys), {"Records": [record]})


def wrapped(message):
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:x:1:y", "Message": json.dumps(message)}


class TestNotifications:
    """S3's event notifications."""

    door = staticmethod(s3_notifications("tasks.ingest", store="uploads"))

    @pytest.mark.parametrize("wrap", [lambda message: message, wrapped], ids=["S3", "SNS"])
    def test_a_record(self, wrap):
        """A record becomes a call with a handle and the event, also where SNS has wrapped it."""
        [call] = calls(self.door, wrap({"Records": [RECORD]}))
        handle, event = call.args

        assert (call.task, handle.store, handle.key) == ("tasks.ingest", "uploads", "input/HappyFace.jpg")
        assert (handle.size_bytes, handle.etag) == (1024, "d41d8cd98f00b204e9800998ecf8427e")
        assert handle.version == "096fKKXTRTtl3on89fVO.nfljtsv6qko"
        assert event == {
            "name": "ObjectCreated:Put", "time": "1970-01-01T00:00:00.000Z", "sequencer": "0055AED6DCD90281E5"
        }  # fmt: skip

    @pytest.mark.parametrize("wrap", [lambda message: message, wrapped], ids=["EventBridge", "SNS"])
    def test_an_event_of_eventbridge(self, wrap):
        """EventBridge encodes no key, whatever the setting, and names fields otherwise."""
        [call] = calls(self.door, wrap(BRIDGED))
        handle, event = call.args

        assert (handle.key, handle.version) == ("input/a+b c.jpg", "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e")
        assert (handle.size_bytes, handle.etag) == (5, "b1946ac92492d2347c6235b4d2611184")
        assert event["name"] == "Object Created"

    @pytest.mark.parametrize(
        ("keys", "written", "meant"),
        [
            ("aws", "input/this+im+%2B+age+blah.txt", "input/this im + age blah.txt"),
            ("aws", "input/dt%3D2018-05-04/_SUCCESS", "input/dt=2018-05-04/_SUCCESS"),
            ("minio", "input%2Frecordings%2Fx+y.mp4", "input/recordings/x+y.mp4"),
            ("ceph", "input/100%2F+.txt", "input/100%2F+.txt"),
        ],
    )
    def test_the_writing_of_keys(self, keys, written, meant):
        """Keys are decoded as whoever writes them encodes them."""
        assert notified(keys, key=written)[0].args[0].key == meant

    def test_the_id_of_a_task_follows_from_its_object(self):
        """Whoever has stored an object knows the id of its task; by default it follows from the message."""
        door = s3_notifications("t", store="uploads", task_ids="object")
        key = RECORD["s3"]["object"]["key"]

        assert [call.task_id for call in calls(door, {"Records": [RECORD]})] == [
            object_task_id("uploads", key)
        ]
        assert [call.task_id for call in calls(self.door, {"Records": [RECORD]})] == [None]

    def test_several_records(self):
        """Each record of a message is a call."""
        other = deepcopy(RECORD)
        other["s3"]["object"]["key"] = "input/2"

        assert [call.args[0].key for call in calls(self.door, {"Records": [RECORD, other]})] == [
            "input/HappyFace.jpg", "input/2"
        ]  # fmt: skip

    @pytest.mark.parametrize("message", [TEST, wrapped(TEST), {"Records": []}])
    def test_nothing_for_a_task(self, message):
        """A test event and an empty list are no calls."""
        assert calls(self.door, message) == []

    def test_a_removed_object(self):
        """An event about an object that is gone has no size and no ETag, and is a call all the same."""
        record = deepcopy(RECORD)
        record["eventName"] = "ObjectRemoved:Delete"
        del record["s3"]["object"]["size"], record["s3"]["object"]["eTag"]

        assert calls(self.door, {"Records": [record]})[0].args[0].size_bytes is None

    @pytest.mark.parametrize(
        "changes",
        [{"key": None}, {"size": "1"}, {"eTag": None}, {"key": "input/%FF"}, {"key": "input/" + "k" * 2_000}],
    )
    def test_a_wrong_field(self, changes):
        """A field that is missing, of a wrong type or too long is malformed, and its text is not shown."""
        with pytest.raises(MalformedError) as caught:
            notified(**changes)
        assert "input" not in str(caught.value)

    @pytest.mark.parametrize(
        "key", ["etc/passwd", "inputs/x", "input/../x", "input/./x", "input%2F..%2Fx", ""]
    )
    def test_a_key_outside_of_the_prefix(self, key):
        """A key outside of the store's prefix is malformed."""
        with pytest.raises(MalformedError, match=r"not below the prefix of store 'uploads'|too long"):
            notified(key=key)

    @pytest.mark.parametrize(
        "message",
        [
            {"records": [RECORD]},
            {"Records": [{**RECORD, "eventname": "x", "eventName": 1}]},
            {"Records": [{"s3": RECORD["s3"]}]},
            {"Records": RECORD},
            {"Type": "Notification", "Message": "text"},
            {"Event": "s3:testevent"},
            {"Records": [{**RECORD, "s3": {**RECORD["s3"], "bucket": {"name": "another"}}}]},
            [],
            "text",
            "[" * 100_000,
        ],
    )
    def test_what_is_no_notification(self, message):
        """A lower-case or missing field, another bucket, and anything else are malformed."""
        with pytest.raises(MalformedError):
            calls(self.door, message)

    def test_ids_of_events(self):
        """An event that S3 notifies of twice has one id on a queue, and each other event another one."""
        changes = [{}, {}, {"sequencer": "0055AED6DCD90281E6"}, {"key": "input/x"}, {"versionId": None}]
        door = s3_notifications("t", store="uploads", task_ids="event")
        ids = []
        for number, change in enumerate(changes):
            record = deepcopy(RECORD)
            record["s3"]["object"].update(change)
            message = ForeignMessage(json.dumps({"Records": [record]}), {}, str(number), "queue")
            ids += [call.task_id for call in door(message)]
        elsewhere = ForeignMessage(message.body, {}, "id", "other")
        [other] = door(elsewhere)

        assert ids[0] == ids[1]
        assert len({*ids, other.task_id}) == 5
        del record["s3"]["object"]["sequencer"]
        assert calls(door, {"Records": [record]})[0].task_id is None

    def test_unknown_task_ids(self):
        """Another word for what ids follow from is an error that lists the known ones."""
        with pytest.raises(ValueError, match="task_ids='key': expected one of message, object, event"):
            s3_notifications("t", store="uploads", task_ids="key")

    def test_an_unknown_writing_of_keys(self):
        """A wrong setting is an error at once."""
        with pytest.raises(ValueError, match="expected one of aws, minio, ceph"):
            s3_notifications("t", store="uploads", keys="gcs")
