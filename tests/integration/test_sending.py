"""Messages that are published together, over real HTTP: calls, failures, and what becomes of payloads."""

import json
import random
import signal
import threading
from contextvars import copy_context
from itertools import chain as joined
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from celery import chain, chord, group
from celery.contrib.testing.worker import start_worker
from celery.signals import after_task_publish
from kombu.exceptions import OperationalError
from workers import eventually

import pipeline
from pipeline.transport import BatchSendError
from pipeline.transport.send import lingering

pytestmark = [pytest.mark.aws]

NOISE = random.Random(5).randbytes(275_000)
DENIED = b'{"__type":"AccessDenied","message":"no"}'
THROTTLED = b'{"__type":"com.amazonaws.sqs#RequestThrottled","message":"slow down"}'
TOO_LONG = b'{"__type":"com.amazonaws.sqs#BatchRequestTooLong","message":"too long"}'
ONCE = {"retries": {"total_max_attempts": 1}}
"""botocore asks once, so that the proxy counts what we do."""


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """Let messages wait until something else sends them: how many calls there are depends on no time."""
    monkeypatch.setattr(lingering, "SECONDS", 3_600)


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample where every argument goes through the store, and whose every call is written down."""
    options = {"visibility_timeout": 30, "wait_time_seconds": 1, "client-config": ONCE}
    return sample_of(
        store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0},
        conf={"broker_transport_options": options},
    )  # fmt: skip


@pytest.fixture
def calls(proxy):
    """Return a function that counts the calls with one message, and those with several."""
    return lambda: (proxy.operations["SendMessage"], proxy.operations["SendMessageBatch"])


def answer(sent, **refused):
    """Return SQS's answer to a batch: places that were taken, and codes of others; "!" is our fault."""
    failed = [
        {"Id": place.strip("_"), "Code": code.strip("!"), "SenderFault": code.endswith("!")}
        for place, code in refused.items()
    ]
    return json.dumps({"Successful": [{"Id": str(place)} for place in sent], "Failed": failed}).encode()


def publish(sample, count=25):
    return group(sample.double.s(number) for number in range(count)).apply_async()


def send(sample, queue, number, name, **options):
    sample.double.apply_async((number,), queue=queue, MessageGroupId=name, **options)


def fail(*_, **__):
    raise RuntimeError("no event")


def in_a_block(publish):
    with pipeline.batch():
        publish()


def receive(aws, queue, count):
    """Take messages off a queue, and return the attributes that SQS gave them, in order."""
    sqs = aws.client("sqs")
    url = aws.url_of(queue)
    received = []
    while len(received) < count:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
        messages = answer["Messages"]
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        received += [message["Attributes"] for message in messages]
    return received


def owners(sample, aws):
    """Return the ids of the tasks whose payloads are in the store."""
    bucket = sample.environment["SHOP_STORE"].split("/")[2]
    s3 = aws.client("s3")
    return {s3.head_object(Bucket=bucket, Key=key)["Metadata"]["task-id"] for key in sample.objects()}


class TestCanvas:
    @pytest.mark.worker
    def test_a_group_is_a_few_calls(self, sample, calls):
        """Twenty-five tasks of a group are three calls, and all of them run."""
        result = publish(sample)

        assert calls() == (0, 3)
        sample.worker(pool="threads", concurrency=8)
        assert result.get(timeout=60) == [2 * number for number in range(25)]
        sample.eventually_empty()

    @pytest.mark.worker
    def test_chords_and_chunks_are_a_few_calls(self, sample, calls):
        """The header of a chord and the chunks of a list travel together as well."""
        together = chord([sample.add.s(number, 1) for number in range(12)], sample.total.s())()
        chunks = sample.add.chunks([(number, 1) for number in range(24)], 2).apply_async()
        after = chain(sample.add.s(1, 1), group(sample.add.s(number) for number in range(11)))()

        assert calls() == (2, 4)  # the two are celery.chord_unlock and the first link of the chain
        sample.worker(pool="threads", concurrency=8)
        assert together.get(timeout=60) == sum(range(1, 13))
        assert list(joined(*chunks.get(timeout=60))) == list(range(1, 25))
        assert after.get(timeout=60) == list(range(2, 13))
        sample.eventually_empty()

    @pytest.mark.worker
    def test_a_worker_sends_groups_in_a_few_calls(self, sample, calls, proxy):
        """A task that publishes a group, in a chain that goes on after it, does so as well."""
        worker = sample.worker(pool="prefork", concurrency=1)
        result = chain(sample.add.s(1, 1), group(sample.add.s(number) for number in range(10)))()

        assert result.get(timeout=60) == list(range(2, 12))
        sample.eventually_empty()
        assert calls()[1] >= 1  # how many travel together is a question of time there
        assert {request.pid for request in proxy.seen("SendMessageBatch")} <= {
            child.pid for child in worker.children()
        }

    @pytest.mark.worker
    def test_a_slow_generator_is_sent_as_it_goes(self, sample, monkeypatch):
        """A group runs its first tasks while the generator of its others still waits for them."""
        monkeypatch.setattr(lingering, "SECONDS", 0.1)
        sample.worker(pool="solo")

        def tasks():
            yield sample.nap.s("first", 0)
            yield sample.nap.s("next", 0)
            eventually(sample.notes, message="the first task did not run while others were made")
            yield sample.nap.s("last", 0)

        assert group(tasks()).apply_async().get(timeout=60) == [5, 4, 4]

    @pytest.mark.parametrize("kind", ["map", "starmap"])
    def test_a_map_is_one_message(self, sample, calls, moto_aws, kind):
        """Celery sends ``map`` and ``starmap`` as one task, so there is nothing to collect."""
        getattr(sample.total, kind)([[number] for number in range(25)]).apply_async()

        assert calls() == (1, 0)
        assert moto_aws.depth(sample.queue).waiting == 1

    @pytest.mark.parametrize("limit", [0, None, 1])
    def test_any_pool_of_producers_will_do(self, sample_of, moto_aws, proxy, calls, limit):
        """Without a limit Celery makes a producer for each use, and it is sent as well."""
        sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf={"broker_pool_limit": limit})
        for _ in range(2):
            publish(sample, 15)

        assert calls() == (0, 4)
        assert moto_aws.depth(sample.queue).waiting == 30

    def test_a_producer_of_ones_own_sends_when_it_is_given_back(self, sample, calls):
        """A group joins what is collected in the producer that it is given."""
        producer = sample.app.producer_pool.acquire(block=True)
        for _ in range(2):
            group(sample.double.s(number) for number in range(3)).apply_async(producer=producer)
        assert calls() == (0, 0)
        sample.double.apply_async((1,), producer=producer)
        assert calls() == (1, 0)
        producer.release()

        assert calls() == (1, 1)

    def test_signals_fire_when_a_message_is_collected(self, sample, calls):
        """Celery's ``after_task_publish`` says that a task was published, not yet that it was sent."""
        seen = []

        def note(**_):
            seen.append(calls())

        after_task_publish.connect(note)
        try:
            publish(sample, 12)
        finally:
            after_task_publish.disconnect(note)

        assert seen == [(0, 0)] * 10 + [(0, 1)] * 2

    def test_a_delay_travels_too(self, sample, moto_aws, calls):
        """SQS holds back the tasks of a group that has a countdown."""
        group(sample.double.s(number) for number in range(3)).apply_async(countdown=100)

        assert calls() == (0, 1)
        assert moto_aws.depth(sample.queue).waiting == 0
        assert moto_aws.depth(sample.queue).delayed == 3


@pytest.mark.worker
def test_every_stand_in(sample_of, aws, proxy, calls):
    """A group runs on every stand-in, from a standard queue and from a FIFO queue."""
    sample = sample_of(store=f"s3://{aws.bucket()}/claims", options={"threshold_bytes": 0})
    queue = f"{sample.queue}.fifo"
    sample.worker(pool="threads", concurrency=8, options=["-Q", f"{sample.queue},{queue}"])
    results = [
        publish(sample, 12),
        group(
            sample.double.s(number).set(queue=queue, MessageGroupId=f"{number}") for number in range(12)
        ).apply_async(),
    ]

    assert [result.get(timeout=60) for result in results] == [[2 * number for number in range(12)]] * 2
    assert calls() == (0, 4)
    sample.eventually_empty()


class TestLoneTask:
    def test_it_is_sent_at_once(self, sample, calls):
        """A task that is published alone is one SendMessage before ``delay`` returns."""
        sample.double.delay(1)

        assert calls() == (1, 0)

    def test_its_error_comes_at_once(self, sample, proxy):
        """The caller gets SQS's own error, and no signal says that the task was published."""
        proxy.fail("SendMessage", status=403, content=DENIED)
        seen = []

        def note(**_):
            seen.append(True)

        after_task_publish.connect(note)
        try:
            with pytest.raises(ClientError, match="AccessDenied"):
                sample.double.delay(1)
        finally:
            after_task_publish.disconnect(note)
        assert not seen
        assert not sample.objects()

    def test_a_retry_waits_for_nobody(self, sample, calls):
        """A retry is sent at once, in a block and in a group: it ends its attempt."""
        with pipeline.batch():
            sample.double.apply_async((1,), retries=1)
            assert calls() == (1, 0)


class TestBlock:
    def test_any_number_of_queues(self, sample, calls, moto_aws, proxy):
        """A block collects for each queue, and a call is for one queue alone."""
        queues = [f"{sample.queue}-{name}" for name in "ab"]
        with pipeline.batch():
            for number in range(24):
                sample.double.apply_async((number,), queue=queues[number % 2])
            assert calls() == (0, 2)

        assert calls() == (0, 4)
        assert [moto_aws.depth(queue).waiting for queue in queues] == [12, 12]

    def test_an_exception_in_the_block_takes_nothing_back(self, sample, moto_aws):
        """What was published before it is sent, as without a block."""
        with pytest.raises(ZeroDivisionError):
            in_a_block(lambda: [sample.double.delay(1 // number) for number in (2, 1, 0)])

        assert moto_aws.depth(sample.queue).waiting == 2

    def test_blocks_join_and_groups_do_too(self, sample, calls):
        """Inner blocks and groups leave their messages to the outermost block."""
        with pipeline.batch():
            with pipeline.batch():
                sample.double.delay(1)
            publish(sample, 3)
            chain(sample.double.s(1), sample.double.s())()
            assert calls() == (0, 0)

        assert calls() == (0, 1)

    def test_it_ends_with_its_end(self, sample, calls):
        """A task published after the block is sent at once."""
        with pipeline.batch():
            pass
        sample.double.delay(1)

        assert calls() == (1, 0)

    def test_threads_are_apart(self, sample, calls):
        """Another thread sends at once, even in a context that it got from the block's."""
        with pipeline.batch():
            thread = threading.Thread(target=copy_context().run, args=(sample.double.delay, 1))
            thread.start()
            thread.join()
            assert calls() == (1, 0)

    def test_what_outlives_the_block_is_sent_at_once(self, sample, calls):
        """A context that was copied in a block, as asyncio does for tasks, collects nothing after its end."""
        with pipeline.batch():
            inherited = copy_context()
        inherited.run(sample.double.delay, 1)

        assert calls() == (1, 0)

    def test_other_brokers(self, sample_of):
        """Elsewhere the block does nothing: what is published in it can be awaited in it."""
        sample = sample_of(broker="memory://", store="memory://shop")
        with (
            start_worker(sample.app, pool="solo", perform_ping_check=False, shutdown_timeout=30),
            pipeline.batch(),
        ):
            assert sample.double.delay(2).get(timeout=30) == 4
            assert publish(sample, 3).get(timeout=30) == [0, 2, 4]


class TestSize:
    def test_a_call_holds_a_mebibyte(self, sample_of, moto_aws, proxy, calls):
        """Of messages of more than 350 KB two go into a call, and the last one travels alone."""
        sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 1_048_576})
        group(sample.digest_bytes.s(NOISE + bytes([number])) for number in range(7)).apply_async()

        assert calls() == (1, 3)
        assert moto_aws.depth(sample.queue).waiting == 7
        assert not sample.objects()

    def test_a_broker_may_take_less(self, sample_of, moto_aws, proxy, calls):
        """``broker_limit_bytes`` bounds a call as it does a message."""
        sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"broker_limit_bytes": 262_144})
        group(sample.digest_bytes.s(NOISE[:68_000] + bytes([number])) for number in range(6)).apply_async()

        assert calls() == (0, 3)

    def test_a_broker_that_takes_less_than_we_know(self, sample, proxy, calls, moto_aws):
        """A call that is too long for the broker is sent in halves."""
        proxy.fail("SendMessageBatch", status=400, times=1, content=TOO_LONG)
        publish(sample, 10)

        assert calls() == (0, 3)
        assert moto_aws.depth(sample.queue).waiting == 10


class TestFailures:
    def test_one_entry_is_refused(self, sample, proxy, moto_aws):
        """The error names what was not sent, all else is sent, and the payload of that alone is gone."""
        refusal = answer(range(1, 10), _0="InvalidMessageContents!")
        proxy.fail("SendMessageBatch", status=200, times=1, content=refusal)
        with pytest.raises(OperationalError) as caught:
            publish(sample)
        (failed,) = caught.value.failed

        assert isinstance(caught.value, BatchSendError)
        assert failed[1:] == (sample.queue, "InvalidMessageContents", True)
        assert failed.task_id not in owners(sample, moto_aws)
        assert len(sample.objects()) == 24
        assert moto_aws.depth(sample.queue).waiting == 15  # of the first ten the proxy only said so

    def test_one_entry_is_refused_for_now(self, sample, proxy, calls, moto_aws):
        """What SQS says is its own fault is sent again, alone."""
        proxy.fail("SendMessageBatch", status=200, times=1, content=answer(range(9), _9="InternalError"))
        publish(sample, 10)

        assert calls() == (1, 1)
        assert len(sample.objects()) == 10

    @pytest.mark.parametrize(
        ("code", "is_certain"), [("InternalError", False), ("RequestThrottled", True), ("X!", True)]
    )
    def test_an_entry_that_is_refused_for_good(self, sample, proxy, code, is_certain):
        """A fault of SQS leaves open whether the message is there, and then its payload stays."""
        content = answer([], _0=code, _1=code)
        rule = proxy.fail("SendMessageBatch", status=200, content=content)
        with pytest.raises(BatchSendError) as caught:
            publish(sample, 2)

        assert [each.is_certain for each in caught.value.failed] == [is_certain] * 2
        assert rule.used == (1 if code.endswith("!") else 4)
        assert len(sample.objects()) == (0 if is_certain else 2)

    def test_silence_is_no_confirmation(self, sample, proxy):
        """An entry that no answer names is unclear, and sent again."""
        rule = proxy.fail("SendMessageBatch", status=200, content=answer([]))
        with pytest.raises(BatchSendError, match=r"2 \[queue=.*, code=no answer\]") as caught:
            publish(sample, 2)

        assert rule.used == 4
        assert not any(each.is_certain for each in caught.value.failed)
        assert len(sample.objects()) == 2

    def test_a_call_that_is_denied(self, sample, proxy, moto_aws):
        """Where nothing is sent, the error comes with the tenth task, and no payload is left."""
        rule = proxy.fail("SendMessageBatch", status=403, content=DENIED)
        with pytest.raises(BatchSendError) as caught:
            publish(sample)

        assert rule.used == 1
        assert [each.code for each in caught.value.failed] == ["AccessDenied"] * 10
        assert not sample.objects()
        assert moto_aws.depth(sample.queue).waiting == 0

    @pytest.mark.parametrize("verb", ["lose", "fail"])
    def test_a_call_without_an_answer(self, sample, proxy, verb):
        """After a lost answer or a server error the messages may be there, so their payloads stay."""
        rule = getattr(proxy, verb)("SendMessageBatch")
        with pytest.raises(BatchSendError) as caught:
            publish(sample, 5)

        assert rule.used == 4
        assert not any(each.is_certain for each in caught.value.failed)
        assert len(sample.objects()) == 5

    def test_a_call_that_succeeds_in_the_end(self, sample, proxy, moto_aws):
        """Throttling and server errors are waited out."""
        proxy.fail("SendMessageBatch", status=400, times=1, content=THROTTLED)
        proxy.fail("SendMessageBatch", status=503, times=1)
        publish(sample, 5)

        assert moto_aws.depth(sample.queue).waiting == 5

    def test_a_refusal_after_an_unclear_attempt_is_unclear(self, sample, proxy):
        """What may have been sent the first time is not made certain by the second."""
        proxy.lose("SendMessageBatch", times=1)
        proxy.fail("SendMessageBatch", status=403, content=DENIED)
        with pytest.raises(BatchSendError, match="2 of them may have been sent"):
            publish(sample, 2)

        assert len(sample.objects()) == 2

    def test_all_queues_of_a_block_are_tried(self, sample, proxy, moto_aws):
        """The error of one queue stops no other, and names the messages of both the middle and the end."""
        queues = [f"{sample.queue}-{name}" for name in "abc"]
        with pipeline.batch():
            for queue in queues:
                sample.double.apply_async((0,), queue=queue)
        proxy.fail("SendMessageBatch", status=403, times=2, content=DENIED)
        places = [*queues, queues[1], queues[2], *[queues[0]] * 9]
        with pytest.raises(BatchSendError) as caught:
            in_a_block(lambda: [sample.double.apply_async((1,), queue=queue) for queue in places])

        assert [each.queue for each in caught.value.failed] == [queues[0]] * 10 + [queues[1]] * 2
        assert [moto_aws.depth(queue).waiting for queue in queues] == [1, 1, 3]

    def test_a_request_to_end_is_not_replaced(self, sample, proxy, caplog):
        """Ctrl-C stays Ctrl-C; what was not sent is logged, and its payload goes."""
        proxy.fail("SendMessage", status=403, content=DENIED)
        with pytest.raises(KeyboardInterrupt):
            in_a_block(lambda: [sample.double.delay(1), signal.raise_signal(signal.SIGINT)])

        assert "messages not sent: 1" in caplog.text
        assert not sample.objects()

    def test_a_message_that_was_never_collected(self, sample, proxy, calls):
        """What fails before there is a message, here for want of a queue, is given up as without a batch."""
        proxy.fail("CreateQueue", status=403, content=DENIED)
        with pytest.raises(Exception, match=r"AccessDenied|denied"):
            publish(sample, 5)

        assert calls() == (0, 0)
        assert not sample.objects()

    def test_an_error_after_a_message_was_collected(self, sample, proxy, moto_aws):
        """Where only Celery's event fails, the task is sent, and its payload stays."""
        sample.app.conf.task_send_sent_event = True
        events = SimpleNamespace(publish=fail)
        with pytest.raises(RuntimeError, match="no event"):
            in_a_block(lambda: sample.double.apply_async((1,), event_dispatcher=events))

        assert moto_aws.depth(sample.queue).waiting == 1
        assert len(sample.objects()) == 1

    def test_a_producer_carries_nothing_over(self, sample, proxy, calls):
        """After a failure the next user of the producer starts with nothing."""
        proxy.fail("SendMessageBatch", status=403, times=1, content=DENIED)
        with pytest.raises(BatchSendError):
            publish(sample, 5)
        sample.double.delay(1)
        publish(sample, 5)

        assert calls() == (1, 2)


class TestFifo:
    def test_one_call_has_one_message_of_each_group(self, sample, proxy, calls, moto_aws):
        """Groups are batched, what belongs to one travels in order, and ids are kept."""
        queue = f"{sample.queue}.fifo"
        with pipeline.batch():
            for number in range(20):
                send(sample, queue, number, f"group-{number % 10}", MessageDeduplicationId=f"id-{number}")

        assert calls() == (0, 2)
        received = receive(moto_aws, queue, 20)
        assert sorted(each["MessageDeduplicationId"] for each in received) == sorted(
            f"id-{number}" for number in range(20)
        )
        for name in {each["MessageGroupId"] for each in received}:
            numbers = [
                int(each["MessageDeduplicationId"][3:]) for each in received if each["MessageGroupId"] == name
            ]
            assert numbers == sorted(numbers)

    def test_trying_again_keeps_the_order(self, sample, proxy, calls, moto_aws):
        """A message that is refused for now is sent before the next of its group."""
        queue = f"{sample.queue}.fifo"
        rule = proxy.fail("SendMessage", status=400, times=1, content=THROTTLED)
        with pipeline.batch():
            for number in range(3):
                send(sample, queue, number, "group", MessageDeduplicationId=f"{number}")

        assert rule.used == 1
        received = receive(moto_aws, queue, 3)
        assert [each["MessageDeduplicationId"] for each in received] == ["0", "1", "2"]

    def test_nothing_overtakes_what_failed(self, sample, proxy, moto_aws):
        """Once a message was refused, those after it in its group are not sent, and others are."""
        queue = f"{sample.queue}.fifo"
        proxy.fail("SendMessageBatch", status=200, times=1, content=answer([1], _0="X!"))
        with pytest.raises(BatchSendError) as caught:
            in_a_block(lambda: [send(sample, queue, 0, name) for name in ("a", "b", "a", "b")])

        assert [each.code for each in caught.value.failed] == ["X", "PredecessorFailed"]
        assert all(each.is_certain for each in caught.value.failed)
        assert [each["MessageGroupId"] for each in receive(moto_aws, queue, 1)] == ["b"]
        assert len(sample.objects()) == 2
