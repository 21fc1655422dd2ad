"""Calls of SNS and EventBridge: which events travel together, and what becomes of those that fail."""

import json
import pickle

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from event_services import ARN, LARGE, Service, bus, keys, topic

from pipeline.errors import EventSendError
from pipeline.events import Event, Notification, sending

pytestmark = pytest.mark.usefixtures("claimcheck")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Send again at once."""
    monkeypatch.setattr(sending, "BACKOFF_SECONDS", 0)


class TestCalls:
    """Entries in calls of ten, and of the size that a call may have."""

    def test_tens(self):
        """Ten at most travel in a call, and the ids come back in order."""
        service = Service()
        ids = topic(service).publish_batch([Notification(value=n) for n in range(23)])

        assert [len(each) for each in service.calls] == [10, 10, 3]
        assert ids == [f"m{n}" for n in range(23)]

    def test_sizes(self):
        """A call is no larger than a message may be."""
        service = Service()
        topic(service).publish_batch([Notification(value="x" * 900) for _ in range(5)])

        assert [len(each) for each in service.calls] == [2, 2, 1]

    def test_fifo(self):
        """Of a message group one travels in a call; behind a failed one, the group's others are not sent."""
        service = Service({0: "InvalidParameter"})
        fifo = topic(service, f"{ARN}.fifo")
        with pytest.raises(EventSendError) as raised:
            fifo.publish_batch([Notification(value=n, group="ab"[n % 2]) for n in range(4)])

        assert [[each["Message"] for each in call] for call in service.calls] == [["0", "1"], ["3"]]
        assert raised.value.failed == ((0, "InvalidParameter", True), (2, "PredecessorFailed", True))
        names = {each["MessageDeduplicationId"] for call in service.calls for each in call}
        assert len(names) == 3

    def test_fifo_needs_a_group(self):
        """A FIFO topic's message without a group is an error of its caller."""
        with pytest.raises(ValueError, match="needs one"):
            topic(Service(), f"{ARN}.fifo").publish(1)


def client_error(code, status=400):
    metadata = {"HTTPStatusCode": status, "RetryAttempts": 0}
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": metadata}, "Publish")


class TestFailures:
    """Failed entries are sent again if that may help, and raised one by one."""

    def test_transient(self):
        """Only what failed for now is sent again."""
        service = Service({1: "ThrottlingException"}, {0: "InternalFailure"})
        ids = bus(service).put_events([Event("created", {"n": n}) for n in range(3)])

        assert [[json.loads(e["Detail"])["n"] for e in call] for call in service.calls] == [
            [0, 1, 2],
            [1],
            [1],
        ]
        assert ids == ["e0", "e0", "e2"]

    def test_each_is_named(self, store):
        """An entry that failed for good is in the error with its place, and its payload is deleted."""
        service = Service({1: "NotAuthorizedForDetailType"})
        with pytest.raises(EventSendError, match=r"1 .to=orders, code=NotAuthorizedForDetailType") as raised:
            bus(service).put_events([Event("created", LARGE) for _ in range(3)])

        assert raised.value.failed == ((1, "NotAuthorizedForDetailType", True),)
        assert pickle.loads(pickle.dumps(raised.value)).failed == raised.value.failed
        assert len(keys(store)) == 2

    @pytest.mark.parametrize(
        ("answer", "is_certain"),
        [
            (client_error("AuthorizationError", 403), True),
            (client_error("ThrottlingException"), True),
            (client_error("InternalFailure", 500), False),
            (ReadTimeoutError(endpoint_url="http://x"), False),
            ({0: "InternalError"}, False),
        ],
    )
    @pytest.mark.parametrize("target", ["topic", "bus"])
    def test_a_call_fails(self, answer, is_certain, target, store):
        """A payload is deleted if its event was certainly not sent, and stays if it may have been."""
        service = Service(*[answer] * sending.ATTEMPTS)
        put, publish = bus(service).put_events, topic(service).publish
        with pytest.raises(EventSendError) as raised:
            put([Event("created", LARGE)]) if target == "bus" else publish(LARGE)

        assert [each.is_certain for each in raised.value.failed] == [is_certain]
        assert len(keys(store)) == (not is_certain)

    def test_unclear_once(self, store):
        """What may have been sent in one attempt stays unclear, whatever a later one says."""
        answers = client_error("InternalFailure", 500), client_error("AuthorizationError", 403)
        with pytest.raises(EventSendError) as raised:
            topic(Service(*answers)).publish(LARGE)

        assert raised.value.failed == ((0, "AuthorizationError", False),)
        assert len(keys(store)) == 1

    @pytest.mark.parametrize("target", ["topic", "bus"])
    def test_unclear_after_a_retry_of_botocore(self, target, store):
        """What fails in the answer to botocore's second request may have been sent by the first one."""
        service = Service({0: "AuthorizationError"}, retries_count=1)
        put, publish = bus(service).put_events, topic(service).publish
        with pytest.raises(EventSendError) as raised:
            put([Event("created", LARGE)]) if target == "bus" else publish(LARGE)

        assert raised.value.failed == ((0, "AuthorizationError", False),)
        assert len(keys(store)) == 1

    def test_interrupted(self, store):
        """An interrupted call may have arrived; what was not sent yet leaves nothing behind."""
        service = Service(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            topic(service).publish_batch([Notification(value=LARGE) for _ in range(15)])

        assert 0 < len(keys(store)) == len(service.calls[0]) < 15

    def test_no_answer_for_an_entry(self):
        """Of an entry that the answer does not name nothing is known."""

        class Silent(Service):
            def publish_batch(self, **_):
                return {}

        with pytest.raises(EventSendError) as raised:
            topic(Silent()).publish(1)

        assert raised.value.failed == ((0, "no answer", False),)
