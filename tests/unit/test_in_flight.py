"""Messages in flight: batches of them, and their heartbeat."""

import math

import pytest

from pipeline.transport.heartbeat import Heartbeat
from pipeline.transport.in_flight import Delivery, InFlight, batches, failures


def delivery(tag="a", url="https://sqs/q", visibility=30, hidden=30):
    return Delivery(tag, None, tag, "q", url, None, visibility, hidden)


def test_silence_is_no_confirmation():
    """An entry that the answer does not name has failed."""
    batch = [delivery("a"), delivery("b"), delivery("c")]
    answer = {"Successful": [{"Id": "0"}], "Failed": [{"Id": "2", "Code": "InternalError"}]}

    assert failures(batch, answer) == {"b": "no answer", "c": "InternalError"}


def test_a_batch_is_ten_of_one_queue():
    """SQS takes ten entries of one queue at a time."""
    in_flight = [delivery(str(n), f"https://sqs/{n % 2}") for n in range(24)]

    assert [len(batch) for batch in batches(in_flight)] == [10, 2, 10, 2]
    assert all(len({it.queue_url for it in batch}) == 1 for batch in batches(in_flight))


@pytest.mark.parametrize(("visibility", "hidden", "first"), [(30, 30, 10), (60, 30, 10), (30, 1800, 10)])
def test_the_first_beat_comes_at_a_third_of_the_shorter_time(visibility, hidden, first):
    """A queue may hide messages for less time than the option says, or for more."""
    it = delivery(visibility=visibility, hidden=hidden)

    assert it.extend_at - it.received == pytest.approx(first)
    assert it.expires - it.received == pytest.approx(hidden)


def test_a_popped_delivery_is_not_in_flight():
    """A delivery is in flight until it is popped, and popping twice is safe."""
    in_flight = InFlight()
    in_flight.add(delivery("a"))

    assert in_flight.pop("a").tag == "a"
    assert in_flight.pop("a") is None
    assert not len(in_flight)


def test_without_visibility_nothing_is_extended():
    """A timeout of 0 leaves nothing to extend."""
    assert delivery(visibility=0, hidden=0).extend_at == math.inf


def test_after_12_hours_a_message_is_let_go(caplog):
    """SQS hides no message for longer, so the heartbeat says so once, and stops asking."""
    in_flight = InFlight()
    in_flight.add(delivery())
    in_flight.get("a").received -= 43_200
    in_flight.get("a").extend_at = 0
    counted = []
    heartbeat = Heartbeat(in_flight, lambda queue, code: counted.append((queue, code)))
    heartbeat.beat()
    heartbeat.beat()

    assert caplog.text.count("can no longer be hidden") == 1
    assert counted == [("q", "12 hours are over")]
