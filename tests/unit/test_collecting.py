"""What a batch collects of the messages that Celery sends."""

import inspect
from types import SimpleNamespace

import pytest
from kombu.transport.SQS import Channel

from pipeline.serializer.publication import Publication
from pipeline.transport.send.batch import Batch
from pipeline.transport.send.collecting import Collector, collecting, parcel_of
from pipeline.transport.send.entries import Parcel


@pytest.fixture
def batch():
    return Batch(1_000, print)


def test_only_the_task_itself_is_collected(batch):
    """An event that Celery sends beside a task is sent at once, and so is all else outside of it."""
    with collecting(batch, Publication(task_id="1")) as parcel:
        assert parcel_of({"headers": {"id": "1"}}) is parcel
        assert parcel_of({"headers": {}, "properties": {"correlation_id": "1"}}) is parcel  # protocol 1
        assert parcel_of({"headers": {"id": "2"}}) is None
        assert parcel_of({"headers": {}}) is None
        assert parcel_of({}) is None

    assert parcel_of({"headers": {"id": "1"}}) is None


def test_only_sending_is_collected(batch):
    """The client that ``_put`` gets is the queue's own in all else."""
    channel = SimpleNamespace(sqs=lambda queue: f"client of {queue}", region="eu")
    collector = Collector(channel, Parcel(Publication(), batch.add))

    assert collector.region == "eu"
    assert collector.sqs(queue="q").upper() == "CLIENT OF Q"


def test_put_can_be_borrowed():
    """Kombu's ``_put`` looks everything up on the channel that it is given, so that may be a collector."""
    source = inspect.getsource(Channel._put)

    assert "super()" not in source
    assert "c = self.sqs(" in source
    assert "c.send_message(" in source
