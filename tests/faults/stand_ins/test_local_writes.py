"""The local AWS keeps the conditions of writes, however its threads take turns."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from sample_fixtures import entered
from standins import running

from pipeline.local import EmbeddedAWS
from pipeline.stores.dynamodb.store import DynamoDBStore
from pipeline.stores.s3.store import S3Store

pytestmark = pytest.mark.aws

KEY = "claims/v1/00/record"
OFTEN = "import runpy, sys; sys.setswitchinterval(25e-6); runpy.run_module('pipeline', {}, '__main__')"
"""Runs the command with threads that take turns two hundred times as often as they would."""


class Switching(EmbeddedAWS):
    """The local AWS, whose threads take turns often."""

    def command(self):
        return [sys.executable, "-c", OFTEN, *super().command()[3:]]


@pytest.fixture
def switching(monkeypatch):
    for server in running(Switching()):
        yield entered(server, monkeypatch)


def on_s3(aws):
    return S3Store(aws.bucket(), "claims")


def on_dynamodb(aws):
    return DynamoDBStore(aws.table(), "claims")


def add(records, number):
    """Add a number to a record, anew if another was faster."""
    written = None
    while written is None:
        content, tag = records.read(KEY) or (b"", None)
        written = records.write(KEY, content + b"%d " % number, tag)


@pytest.mark.parametrize("make", [on_s3, on_dynamodb])
def test_of_two_conditional_writes_one_is_done(switching, make):
    """All numbers that eight threads add to one record are there."""
    records = make(switching).records()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add(records, number), range(64)))

    assert sorted(map(int, records.read(KEY)[0].split())) == list(range(64))


def test_no_message_is_lost(switching):
    """Messages that are sent while others are deleted are all there."""
    sqs, url = switching.client("sqs"), switching.queue()
    tens = [{"Id": f"{number}", "MessageBody": "waits"} for number in range(10)]
    for _ in range(80):
        sqs.send_message_batch(QueueUrl=url, Entries=tens)
    received = [
        each["ReceiptHandle"]
        for _ in range(10)
        for each in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    ]

    with ThreadPoolExecutor(8) as pool:
        for handle in received:
            pool.submit(sqs.delete_message, QueueUrl=url, ReceiptHandle=handle)
            pool.submit(sqs.send_message, QueueUrl=url, MessageBody="new")

    assert sum(switching.depth(url)) == 800
