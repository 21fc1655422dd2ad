"""What the channel of a worker makes of foreign messages, for the doors of a test's ``app``."""

import pytest

from pipeline.worker.validation import examine


@pytest.fixture
def receive(app, monkeypatch):
    """Receive a message as the channel of a worker does: without a connection."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    queues = {name: {"url": f"https://sqs/1/{name}"} for name in ("words", "uploads", "pointers", "other")}
    connection = app.connection_for_read(transport_options={"predefined_queues": queues})
    channel = connection.transport.create_channel(connection.transport)

    def received(body, queue="words", number=1, **fields):
        raw = {"Body": body, "MessageId": f"message {number}", "ReceiptHandle": "handle", **fields}
        message = channel.message_to_python(channel._message_to_python(raw, queue, "https://sqs/1/words"))
        message.accept = set(app.conf.accept_content) | {"application/x-claimcheck"}
        return message

    received.channel = channel
    yield received
    connection.release()


def call_of(message):
    """Return task, args and kwargs of a message that a worker would run."""
    fault, (args, kwargs, _) = examine(message)
    assert fault == ""
    return message.headers["task"], list(args), dict(kwargs)
