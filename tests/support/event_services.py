"""SNS and EventBridge as a producer sees them: they answer as a test says, and note what they were sent."""

from collections import deque

from pipeline.events import EventBus, Topic

ARN = "arn:aws:sns:eu-central-1:000000000000:orders"
LIMIT = 2_000
LARGE = {"kind": "created", "text": "x" * 3_000}
"""A value above it."""


class Service:
    """Answers each call with the next of ``answers``, and then takes everything.

    An answer is an exception, or maps places in a call to the codes of entries that fail.
    """

    def __init__(self, *answers, retries_count=0):
        self.answers = deque(answers)
        self.metadata = {"RetryAttempts": retries_count}
        self.calls = []

    def _codes(self, entries):
        self.calls.append(entries)
        answer = self.answers.popleft() if self.answers else {}
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def publish_batch(self, *, TopicArn, PublishBatchRequestEntries):  # noqa: N803 - AWS's names
        """Answer as SNS does."""
        codes = self._codes(PublishBatchRequestEntries)
        ids = [each["Id"] for each in PublishBatchRequestEntries]
        failed = [
            {"Id": name, "Code": codes[place], "SenderFault": not codes[place].startswith("Internal")}
            for place, name in enumerate(ids)
            if place in codes
        ]
        good = [{"Id": name, "MessageId": f"m{name}"} for place, name in enumerate(ids) if place not in codes]
        return {"Successful": good, "Failed": failed, "ResponseMetadata": self.metadata}

    def put_events(self, *, Entries):  # noqa: N803 - AWS's name
        """Answer as EventBridge does."""
        codes = self._codes(Entries)
        answers = [
            {"ErrorCode": codes[place], "ErrorMessage": "no"} if place in codes else {"EventId": f"e{place}"}
            for place in range(len(Entries))
        ]
        return {"FailedEntryCount": len(codes), "Entries": answers, "ResponseMetadata": self.metadata}


def topic(service, arn=ARN, **settings):
    """Return a topic with a low limit."""
    return Topic(arn, LIMIT, client=service, **settings)


def bus(service, **settings):
    """Return a bus with a low limit."""
    return EventBus("orders", source="shop", limit_bytes=LIMIT, client=service, **settings)


def keys(store):
    """Return the keys in a store."""
    return [each.key for each in store.list()]
