"""``pipeline top`` counts real queues, stores and workers."""

import json

import pytest
from click.testing import CliRunner
from workers import eventually

from pipeline.admin.top import readers
from pipeline.admin.top.monitor import Monitor
from pipeline.admin.top.readers import QueueReader, StoreReader, WorkerReader
from pipeline.cli.main import main
from pipeline.stores.memory import MemoryStore

pytestmark = pytest.mark.aws

ARN = "arn:aws:sqs:eu-west-1:123456789012:"


def run(*words):
    """Run the command in this process."""
    return CliRunner().invoke(main, ["-A", "sample_app", "top", *words])


def once():
    """Return what one look says."""
    result = run("--once", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_counts(sample, queue, moto_aws):
    """Waiting, in flight, delayed and dead dead_letters are SQS's own numbers; payloads are the store's."""
    sqs = moto_aws.client("sqs")
    for _ in range(3):
        sample.digest.delay([1, 2, 3])
    sample.digest.apply_async(([1],), countdown=600)
    url = moto_aws.url_of(queue)
    sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)
    dead = moto_aws.url_of(f"{queue}-dlq")
    sqs.send_message(QueueUrl=dead, MessageBody="garbage")
    said = once()
    [shown] = said["queues"]

    assert (shown["waiting"], shown["in_flight"], shown["delayed"], shown["dead"]) == (2, 1, 1, 1)
    assert (said["totals"]["waiting"], said["totals"]["dead"]) == (2, 1)
    assert (said["store"]["objects"], said["store"]["is_all"]) == (4, True)
    assert said["store"]["size_bytes"] > 0
    assert said["workers"] is None  # the sample has no remote control
    assert {name: look["error"] for name, look in said["polls"].items()} == {
        "queues": None,
        "workers": None,
        "store": None,
    }


def test_a_picture_is_readable_in_80_columns(sample_of, moto_aws):
    """The output without a terminal is 80 columns wide, and shows the longest queue name in full."""
    long = "production-eu-west-1-orders-" + "x" * 47 + "-high"
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf={"task_default_queue": long})
    moto_aws.queue(long)
    sample.digest.delay(1)
    printed = run("--once").stdout

    assert len(long) == 80
    assert max(map(len, printed.splitlines())) <= 80
    assert long in "".join(line.split()[0] if line.split() else "" for line in printed.splitlines())


def test_a_missing_queue_is_shown_as_absent(sample, moto_aws):
    """A queue that does not exist is shown as absent, and is no error."""
    said = once()

    assert [depth["is_there"] for depth in said["queues"]] == [False]
    assert " absent" in run("--once").stdout


def test_a_shared_dead_letter_queue_is_read_and_counted_once(sample, queue, moto_aws):
    """Two queues with the same dead letters: one request, and one count in the total."""
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}{queue}-dlq", "maxReceiveCount": 1})
    moto_aws.queue("other", RedrivePolicy=policy)
    sample.app.amqp.queues.select_add("other")
    moto_aws.client("sqs").send_message(QueueUrl=moto_aws.queue(f"{queue}-dlq"), MessageBody="garbage")
    look = QueueReader(sample.app)
    first = look()
    calls = look.calls
    second = look()
    look.close()

    assert [depth.dead for depth in first] == [depth.dead for depth in second] == [1, 1]
    assert readers.totals(second).dead == 1
    assert look.calls - calls == 3


def test_what_comes_and_goes_is_counted(sample, queue):
    """A growing backlog counts as messages that came, a shrinking one as messages that went."""
    look = QueueReader(sample.app)
    look()
    for _ in range(3):
        sample.digest.delay(1)
    [grown] = look()
    sample.app.control.purge()
    [shrunk] = look()
    look.close()

    assert (look.arrived, look.gone) == (3, 3)
    assert grown.change_per_second > 0
    assert (shrunk.backlog, shrunk.change_per_second) == (0, 0)


def test_a_queue_that_goes_and_comes_is_found_again(sample, queue, moto_aws):
    """A queue that is deleted while one looks is absent, and shown again when it is back."""
    sqs = moto_aws.client("sqs")
    look = QueueReader(sample.app)
    there = look()
    sqs.delete_queue(QueueUrl=moto_aws.url_of(queue))
    gone = look()
    moto_aws.queue(queue)
    back = look()
    look.close()

    assert [depth.is_there for [depth] in (there, gone, back)] == [True, False, True]


def test_a_listing_is_bounded(monkeypatch):
    """A listing stops at its limit, and its numbers are then lower bounds."""
    monkeypatch.setattr(readers, "LISTED_OBJECTS", 5)
    store = MemoryStore("claims")
    for number in range(7):
        store.put(f"{store.prefix}/v1/0a/2026/01/01/{number:040d}", b"12", {})
    store.put(f"{store.prefix}/once/v1/{0:040d}", b"a record", {})
    found = StoreReader(store)()

    assert (found.objects, found.size_bytes, found.is_all) == (5, 10, False)


def test_an_sqs_that_does_not_answer_is_one_sentence(sample, monkeypatch):
    """Once, without an answer of SQS: exit code 2, and one sentence."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    result = run("--once", "--json")

    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"].startswith("SQS did not answer ListQueues")


def test_other_brokers_are_an_error(sample_of):
    """An app whose broker is not SQS has no depths to show."""
    sample_of(broker="memory://", store="memory://claims")
    result = run("--once", "--json")

    assert result.exit_code == 2
    assert "needs queues of SQS" in json.loads(result.stdout)["error"]


def test_an_outage_is_shown_and_outlived(sample, queue, proxy, monkeypatch):
    """While SQS fails, the last numbers stay with the error; when it is back, so are new ones."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    sample.digest.delay(1)
    watched = Monitor(sample.app, MemoryStore("claims"), 0.1)
    watched.start()
    watched.wait_for_first()
    proxy.fail("GetQueueAttributes", status=403)
    broken = eventually(lambda: (seen := watched.snapshot()).polls["queues"].error and seen)
    proxy.heal()
    sample.digest.delay(1)
    recovered = eventually(lambda: (seen := watched.snapshot()).queues[0].waiting == 2 and seen)
    watched.stop()

    assert [depth.waiting for depth in broken.queues] == [1]
    assert "SQS answered" in broken.polls["queues"].error
    assert recovered.polls["queues"].error is None


def test_a_store_that_fails_leaves_the_queues(sample, queue, proxy):
    """A denied listing is reported beside the queues' numbers."""
    proxy.fail("ListObjectsV2", status=403)
    said = once()

    assert said["queues"][0]["is_there"]
    assert said["store"] is None
    assert said["polls"]["store"]["error"]


@pytest.mark.worker
def test_workers_are_counted_where_the_broker_carries_questions(sample_of, redis_server, tmp_path):
    """Remote control answers with workers, what they can run at once, and how many tasks they have begun."""
    redis_server.reset()
    sample = sample_of(
        broker=redis_server.url,
        store=f"file://{tmp_path}/claims",
        conf={"worker_enable_remote_control": True},
    )
    sample.worker(pool="threads", concurrency=3)
    look = WorkerReader(sample.app)
    first = eventually(lambda: (answer := look()).count and answer)
    results = [sample.add.delay(1, 2) for _ in range(5)]
    assert [result.get(timeout=30) for result in results] == [3] * 5
    second = eventually(lambda: (answer := look()).started > first.started and answer)

    assert (second.count, second.slots) == (1, 3)
    assert second.started - first.started == 5
    assert second.started_per_second > 0


@pytest.mark.worker
def test_workers_are_counted_over_sqs(sample_of, moto_aws):
    """Workers answer over SQS, through one reply queue for all polls."""
    conf = {"worker_enable_remote_control": True}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf=conf)
    sample.worker(pool="threads", concurrency=3)
    look = WorkerReader(sample.app)
    found = eventually(lambda: (answer := look()).count and answer)
    queues = moto_aws.client("sqs").list_queues()["QueueUrls"]
    look.close()

    assert (found.count, found.slots) == (1, 3)
    assert sum("reply" in url for url in queues) == 1


def test_without_remote_control_workers_are_unknown(sample, queue, moto_aws):
    """Without remote control no reply queue is made, and workers are unknown."""
    before = moto_aws.client("sqs").list_queues()["QueueUrls"]

    assert WorkerReader(sample.app)() is None
    assert moto_aws.client("sqs").list_queues()["QueueUrls"] == before
