"""A message is settled once, and SQS's answer decides how."""

import threading

import pytest
from kombu.message import Message as PlainMessage

from pipeline.transport.in_flight import Delivery, InFlight
from pipeline.transport.message import Message
from pipeline.transport.settling import Settler


class Silent:
    """A channel that answers nothing."""

    no_ack_consumers = None

    def basic_ack(self, delivery_tag, **_):
        """Take it."""

    def basic_reject(self, delivery_tag, **_):
        """Take it."""


@pytest.fixture
def message():
    return Message({"properties": {"delivery_tag": "a"}}, channel=Silent())


@pytest.mark.parametrize("again", ["ack", "reject", "requeue"])
def test_a_message_is_acknowledged_once(message, again):
    """A second word is an error, although the first has not been confirmed yet."""
    message.settling = True
    message.ack()

    assert not message.acknowledged
    with pytest.raises(PlainMessage.MessageStateError):
        getattr(message, again)()
    message.settling = False
    assert message.acknowledged


@pytest.mark.parametrize("word", ["reject", "requeue"])
def test_a_rejected_message_is_dealt_with(message, word):
    """A message that was given back counts as acknowledged, as in Kombu."""
    getattr(message, word)()

    assert message.acknowledged


class Client:
    """SQS that gives fixed answers, one after another."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def delete_message_batch(self, **_):
        """Answer with the next one; an error is raised."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def settle(message, client, visibility, on_unsettled):
    in_flight = InFlight()
    in_flight.add(Delivery("a", message, "a", None, "https://sqs/q", client, visibility, visibility))
    message.settling = True
    settler = Settler(in_flight, on_unsettled)
    settler.add(in_flight.get("a"))
    assert settler.flush(5)
    return in_flight


def test_an_acknowledgement_is_given_up_with_its_receipt_handle(message):
    """After the visibility timeout the message is another's, and must not be deleted under its hands."""
    counted = []
    in_flight = settle(
        message, Client(OSError("reset")), 1, lambda queue, code: counted.append((queue, code))
    )

    assert counted == [("", "OSError")]
    assert message.unsettled
    assert not len(in_flight)


def test_a_confirmation_that_comes_too_late_is_none(message):
    """SQS confirms the delete of what others may have by now, so the payload stays."""
    counted = []
    settle(message, Client({"Successful": [{"Id": "0"}]}), 0, lambda _, code: counted.append(code))

    assert counted == ["visibility timeout over"]
    assert message.unsettled


def test_an_error_of_the_observer_stops_no_settling(message, caplog):
    """An error of the callback does not stop later acknowledgements, and flush ends."""
    stale = {"Failed": [{"Id": "0", "Code": "AWS.SimpleQueueService.ReceiptHandleIsInvalid"}]}

    def fail(queue, code):
        raise RuntimeError(queue)

    settle(message, Client(stale), 30, fail)

    assert "not counted" in caplog.text


def test_a_broken_answer_is_no_confirmation(message):
    """A malformed answer is retried like any failure, and does not end the thread."""
    settle(message, Client("no answer at all", {"Successful": [{"Id": "0"}]}), 30, lambda *_: None)

    assert not message.unsettled


class Counted(threading.Condition):
    """Counts how often waiting threads are woken."""

    woken = 0

    def notify_all(self):
        """Wake them."""
        self.woken += 1
        super().notify_all()


def test_the_thread_is_woken_for_a_batch():
    """Acknowledgements that fill a batch wake the thread once, and not each."""
    in_flight = InFlight(lambda: 0.0)
    client = Client({"Successful": [{"Id": str(number)} for number in range(10)]})
    settler = Settler(in_flight, lambda *_: None)
    settler._changed = Counted()
    for tag in "abcdefghij":
        message = Message({"properties": {"delivery_tag": tag}}, channel=Silent())
        in_flight.add(Delivery(tag, message, tag, None, "https://sqs/q", client, 60, 60))
        settler.add(in_flight.get(tag))
    woken = settler._changed.woken

    assert settler.flush(5)
    assert woken == 1
