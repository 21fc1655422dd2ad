"""Dead-letter queues by command: explained one by one, sent back unchanged, given up in the right order."""

import json
import math
import re
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from kombu import Exchange, Queue
from sample_fixtures import entered

from pipeline.admin import received_messages
from pipeline.cli.main import main
from pipeline.serializer import serializer

pytestmark = pytest.mark.aws


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Ask without waiting: a stand-in has one server."""
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)


ARN = "arn:aws:sqs:eu-west-1:123456789012:"
ROWS = [1, 2, 3]


def run(*words, **options):
    """Run the command in this process, and return its exit code and its one JSON object."""
    result = CliRunner().invoke(main, ["-A", "sample_app", "dlq", *words, "--json"], **options)
    return result.exit_code, json.loads(result.stdout or "{}")


def outcome(*words, **options):
    """Run a command about one queue, and return its exit code and what it did there."""
    code, said = run(*words, **options)
    return code, said["queues"][0]


class Letters:
    """A sample's queue with its dead-letter queue, and hands to move messages between them."""

    def __init__(self, sample, aws, suffix=""):
        self.aws, self.sqs = aws, aws.client("sqs")
        self.name = sample.queue
        self.dead_name = f"{self.name.removesuffix(suffix)}-dlq{suffix}"
        fifo = {"FifoQueue": "true"} if suffix else {}
        self.dead_url = aws.queue(self.dead_name, **fifo)
        arn = aws.attributes(self.dead_url)["QueueArn"]
        self.policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
        self.url = aws.queue(self.name, VisibilityTimeout=0, RedrivePolicy=self.policy, **fifo)

    def bury(self):
        """Receive what is on the queue until SQS itself moves it to the dead-letter queue."""
        while self.depth(self.url):
            self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)

    def depth(self, url):
        return sum(self.aws.depth(url))

    def receive(self, url, **options):
        """Receive one message with all that is known of it, and leave it visible."""
        asked = {"MessageAttributeNames": ["All"], "AttributeNames": ["All"], "VisibilityTimeout": 0}
        return self.sqs.receive_message(QueueUrl=url, **asked, **options).get("Messages", [None])[0]


@pytest.fixture
def letters(sample, moto_aws):
    """The sample's queues."""
    return Letters(sample, moto_aws)


def test_list_counts(sample, letters):
    """An empty dead-letter queue is well; one that holds messages is a finding, with depth and age."""
    empty = outcome("list")
    sample.digest.delay(ROWS)
    letters.bury()
    code, said = outcome("list")

    assert empty == (0, {"queue": letters.dead_name, "messages": 0, "oldest": None, "sources": letters.name})
    assert (code, said["messages"]) == (1, 1)
    assert datetime.now(UTC).timestamp() - datetime.fromisoformat(said["oldest"]).timestamp() < 60


def test_show_explains_a_message(sample, letters):
    """A message is shown with its task, its claim and its payload, and never with its arguments."""
    task = sample.digest.delay(["confidential"])
    letters.bury()
    code, said = run("show", letters.name)
    [shown] = said["messages"]

    assert code == 0
    assert (shown["task"], shown["task_id"], shown["queue"]) == (
        "sample_app.digest",
        task.id,
        letters.dead_name,
    )
    assert (shown["store"], shown["key"]) == ("default", sample.objects()[0])
    assert shown["payload_there"]
    assert shown["receive_count"] >= 1
    assert (shown["result"], shown["error"]) == ("PENDING", None)
    assert "confidential" not in json.dumps(said)


def test_show_prints_arguments_on_request(sample, letters):
    """With --arguments the payload is read and printed."""
    sample.digest.delay(["confidential"], size=3)
    letters.bury()
    [shown] = run("show", "--arguments")[1]["messages"]

    assert (shown["args"], shown["kwargs"]) == ([["confidential"]], {"size": 3})


def test_arguments_that_json_has_not_are_printed(sample_of, moto_aws):
    """Keys that are no texts, and numbers that are none, are printed as text: the output is strict JSON."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
    letters = Letters(sample, moto_aws)
    sample.digest.delay({b"key": [math.nan, -math.inf, 1.5]}, (1, 2))
    letters.bury()
    result = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "show", "--arguments", "--json"])
    said = json.loads(result.stdout, parse_constant=pytest.fail)

    assert said["messages"][0]["args"] == [{"b'key'": ["nan", "-inf", 1.5]}, [1, 2]]


def test_show_does_without_results(sample_of, moto_aws):
    """Where no result backend answers, the result is unknown."""
    conf = {"result_backend": "disabled://"}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf=conf)
    letters = Letters(sample, moto_aws)
    sample.digest.delay(ROWS)
    letters.bury()
    [shown] = run("show")[1]["messages"]

    assert (shown["result"], shown["key"], shown["error"]) == (None, None, None)


def unknown(message):
    message["headers"]["task"] = "sample_app.nobody"
    return message


def other_type(message):
    return {**message, "content-type": "application/x-python-serialize"}


def unreadable(message):
    return {**message, "properties": {"body_encoding": "rot13"}}


def no_task(message):
    return {**message, "headers": {}}


def json_body(body):
    return lambda message: {**message, "content-type": "application/json", "body": b64encode(body).decode()}


NO_CALLS = (
    b"[1, 2]",
    b'{"a": 1}',
    b'{"args": 1}',
    b"5",
    b"null",
    b"[5, {}, {}]",
    b"[[], [1], {}]",
    b"[[], {}, 1]",
)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (unknown, "task unknown to this app: sample_app.nobody"),
        (
            other_type,
            "not decoded [content_type='application/x-python-serialize']: this app does not accept it",
        ),
        (no_task, "not a task: it has no header 'task'"),
        (lambda message: {**message, "body": b64encode(b"\x93\x01").decode()}, "claim rejected"),
        (lambda _: "garbage", "not a task: it has no header 'task'"),
        (unreadable, "not read: AttributeError"),
        *((json_body(body), "not a task: the body is not [args, kwargs, embed]") for body in NO_CALLS),
    ],
)
def test_show_says_what_a_worker_would(sample, letters, change, error):
    """Each kind of message that cannot be run is explained by the error that a worker would meet."""
    sample.digest.delay(ROWS)
    message = json.loads(letters.receive(letters.url)["Body"])
    letters.sqs.purge_queue(QueueUrl=letters.url)
    letters.sqs.send_message(QueueUrl=letters.dead_url, MessageBody=json.dumps(change(message)))
    code, said = run("show", "--arguments")

    assert code == 0
    assert said["messages"][0]["error"].startswith(error)


def test_show_escapes_what_is_not_printable(sample, letters):
    """What anybody may have written into a header neither paints the terminal nor ends the command."""
    sample.digest.delay(ROWS)
    message = json.loads(letters.receive(letters.url)["Body"])
    letters.sqs.purge_queue(QueueUrl=letters.url)
    message["headers"] |= {"task": "\x1b[31mred\nqueue  evil", "id": "lone \ud800"}
    letters.sqs.send_message(QueueUrl=letters.dead_url, MessageBody=json.dumps(message))
    shown = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "show"])

    assert shown.exit_code == 0
    assert "\\x1b[31mred\\nqueue  evil" in shown.stdout
    assert "lone \\ud800" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_show_goes_on_after_a_message_that_cannot_be_read(sample, letters):
    """What one message holds does not keep the others from being shown."""
    sample.digest.delay(ROWS)
    message = json.loads(letters.receive(letters.url)["Body"])
    letters.bury()
    for body in (b"[1, 2]", b'[["well"], {"and": "good"}, {}]', b"[[], {}, null]", b'{"args": [1]}'):
        changed = json.dumps(json_body(body)(message))
        letters.sqs.send_message(QueueUrl=letters.dead_url, MessageBody=changed)
    code, said = run("show", "--arguments")
    shown = [(each["args"], each["kwargs"]) for each in said["messages"]]
    expected = [(None, None), (["well"], {"and": "good"}), ([], {}), ([ROWS], {}), ([1], {})]

    assert code == 0
    assert sorted(shown, key=str) == sorted(expected, key=str)


def test_show_misses_payloads(sample, letters):
    """A claim whose payload is gone, or another's, is explained without a read, and with one."""
    for _ in range(2):
        sample.digest.delay(ROWS)
    letters.bury()
    store = serializer.installed().store
    gone, changed = sample.objects()
    store.delete([gone, changed])
    store.put(changed, b"another", {})
    errors = {shown["key"]: shown["error"] for shown in run("show")[1]["messages"]}

    assert errors[gone].startswith("payload missing")
    assert errors[changed].startswith("payload corrupt: size 7 bytes")
    assert all(shown["args"] is None for shown in run("show", "--arguments")[1]["messages"])


def test_show_narrows_down(sample, letters):
    """--task-id and --limit choose messages, and the others are left as they are."""
    tasks = [sample.digest.delay(ROWS) for _ in range(3)]
    letters.bury()

    assert len(run("show", "--limit", "2")[1]["messages"]) == 2
    [shown] = run("show", "--task-id", tasks[1].id)[1]["messages"]
    assert shown["task_id"] == tasks[1].id
    assert letters.depth(letters.dead_url) == 3


def test_redrive_sends_messages_back_unchanged(sample, letters):
    """Body and attributes of a redriven message are the same to the byte, and its payload stays."""
    sample.digest.apply_async(
        (ROWS,), message_attributes={"team": {"DataType": "String", "StringValue": "x"}}
    )
    letters.bury()
    before = letters.receive(letters.dead_url)
    code, said = outcome("redrive")
    after = letters.receive(letters.url)

    assert (code, said["moved"], said["kept"]) == (0, 1, {})
    assert after["Body"] == before["Body"]
    assert after["MessageAttributes"] == before["MessageAttributes"]
    assert letters.depth(letters.dead_url) == 0
    assert len(sample.objects()) == 1
    assert outcome("redrive")[1]["moved"] == 0


def test_a_redrive_that_cannot_send_loses_nothing(sample, letters, proxy):
    """While SQS refuses the send, the message stays in its dead-letter queue."""
    sample.digest.delay(ROWS)
    letters.bury()
    proxy.fail("SendMessage", status=403)
    code, said = run("redrive")

    assert code == 2
    assert "allow sqs:SendMessage" in said["error"]
    assert letters.depth(letters.dead_url) == 1


def test_a_copy_is_kept_back(sample, letters):
    """What is sent back and fails at once is not sent in circles: a copy waits for the next redrive."""
    sample.digest.delay(ROWS)
    letters.bury()
    letters.sqs.send_message(QueueUrl=letters.dead_url, MessageBody=letters.receive(letters.dead_url)["Body"])
    code, said = outcome("redrive")

    assert (code, said["moved"], sum(said["kept"].values())) == (1, 1, 1)
    assert letters.depth(letters.dead_url) == 1


def test_fifo_messages_wait_out_their_deduplication(sample_of, moto_aws, monkeypatch):
    """A FIFO message is sent back under its own ids, but not while SQS would take it for a duplicate."""
    from pipeline.admin import dead_letter_queues

    store = f"s3://{moto_aws.bucket()}/claims"
    sample = sample_of(
        store=store, options={"threshold_bytes": 0}, conf={"task_default_queue": "orders.fifo"}
    )
    letters = Letters(sample, moto_aws, ".fifo")
    letters.sqs.send_message(
        QueueUrl=letters.dead_url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d"
    )
    code, said = outcome("redrive")
    monkeypatch.setattr(dead_letter_queues, "SQS_DEDUPLICATION_SECONDS", 0)

    assert (code, said["moved"]) == (1, 0)
    assert "duplicate" in next(iter(said["kept"]))
    assert outcome("redrive")[1]["moved"] == 1
    ids = letters.receive(letters.url)["Attributes"]
    assert (ids["MessageGroupId"], ids["MessageDeduplicationId"]) == ("g", "d")


@pytest.mark.worker
def test_a_mended_message_runs(sample, letters):
    """After a redrive, a worker runs the task with its payload, and releases it."""
    task = sample.digest.delay(ROWS)
    letters.bury()
    outcome("redrive")
    letters.sqs.set_queue_attributes(QueueUrl=letters.url, Attributes={"VisibilityTimeout": "30"})
    sample.worker(pool="solo")

    assert task.get(timeout=30) == sample.fingerprint([[ROWS], {}])
    sample.eventually_empty()


def test_purge_asks_first(sample, letters):
    """Without --yes, purge says how many it would delete; no is no, and so is nobody who could answer."""
    tasks = [sample.digest.delay(ROWS) for _ in range(2)]
    letters.bury()
    words = ["-A", "sample_app", "dlq", "purge"]
    every = CliRunner().invoke(main, words, input="n\n")
    one = CliRunner().invoke(main, [*words, "--task-id", tasks[0].id], input="n\n")
    code, said = run("purge", input="")

    assert every.exit_code == one.exit_code == code == 2
    assert f"Delete about 2 messages for good (2 of {letters.dead_name})? [y/N]" in every.stderr
    assert f"Delete about 1 messages for good (1 of {letters.dead_name})? [y/N]" in one.stderr
    assert every.stderr.endswith("Error: not confirmed: nothing was deleted\n")
    assert said["error"].startswith("interrupted: ")
    assert letters.depth(letters.dead_url) == 2


@pytest.mark.parametrize("words", [("show",), ("redrive",), ("purge", "--yes"), ("purge",)])
def test_a_task_that_is_not_there_is_an_error(sample, letters, words):
    """An id of which no message is there is an error with the queues that were looked at."""
    sample.digest.delay(ROWS)
    letters.bury()
    code, said = run(*words, "--task-id", "of-nobody", input="y\n")

    assert code == 2
    assert said["error"].startswith(f"no message of task 'of-nobody' in {letters.dead_name}: check the id")
    assert letters.depth(letters.dead_url) == 1


def test_redrive_only_what_can_run(sample, letters):
    """With --only-runnable a message whose task no worker could run stays, and the reason is printed."""
    sample.digest.delay(ROWS)
    bad = sample.app.send_task("sample_app.of_tomorrow", [ROWS])
    letters.bury()
    code, said = outcome("redrive", "--only-runnable")

    assert (code, said["moved"]) == (1, 1)
    assert said["kept"] == {"its task cannot run: task unknown to this app: sample_app.of_tomorrow": 1}
    assert [shown["task_id"] for shown in run("show")[1]["messages"]] == [bad.id]
    assert letters.depth(letters.url) == 1


def test_people_read_sizes_with_units(sample, letters):
    """Without --json, sizes have units; with it they are numbers of bytes."""
    sample.digest.delay("x" * 2_000_000)
    letters.bury()
    shown = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "show"]).stdout
    [told] = run("show")[1]["messages"]

    assert re.search(r"^payload_bytes +1\.9 MiB$", shown, re.MULTILINE)
    assert 2_000_000 < told["payload_bytes"] < 2_000_100


def test_purge_deletes_and_then_releases(sample, letters):
    """A purged message and its payload are gone, and nothing else is; twice is safe."""
    kept, given_up = sample.digest.delay(ROWS), sample.digest.delay(ROWS)
    letters.bury()
    code, said = outcome("purge", "--yes", "--task-id", given_up.id)

    assert (code, said["deleted"], said["released"]) == (0, 1, 1)
    assert [shown["task_id"] for shown in run("show")[1]["messages"]] == [kept.id]
    assert len(sample.objects()) == 1
    assert outcome("purge", "--yes")[1]["deleted"] == 1
    assert outcome("purge", "--yes") == (0, {**said, "deleted": 0, "released": 0, "released_bytes": 0})
    assert sample.objects() == []


def test_purge_keeps_a_payload_that_is_named_twice(sample, letters):
    """A payload that another dead letter names stays with it."""
    sample.digest.delay(ROWS)
    letters.bury()
    letters.sqs.send_message(QueueUrl=letters.dead_url, MessageBody=letters.receive(letters.dead_url)["Body"])
    code, said = outcome("purge", "--yes", "--limit", "1")

    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    assert said["kept"] == {"payload named by another message": 1}
    assert outcome("purge", "--yes")[1]["released"] == 1


def test_purge_keeps_a_payload_that_other_queues_name(sample, letters):
    """A message that went to several queues does not take along what its copies there need."""
    media = Exchange(f"{sample.queue}-media", type="topic")
    queues = [Queue(name, media, routing_key="#") for name in (sample.queue, f"{sample.queue}-other")]
    sample.digest.apply_async((ROWS,), exchange=media.name, routing_key="x", declare=queues)
    letters.bury()
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    assert said["kept"] == {"payload named by another message": 1}
    assert len(sample.objects()) == 1


def test_purge_keeps_the_payload_of_a_claim_that_cannot_be_read(sample, letters):
    """A claim signed with another key goes with its message, and its payload stays and is counted."""
    options = serializer.installed().options
    object.__setattr__(options, "signing_key", b"the other side's key")
    sample.digest.delay(ROWS)
    object.__setattr__(options, "signing_key", b"the key of this side")
    letters.bury()
    [shown] = run("show")[1]["messages"]
    code, said = outcome("purge", "--yes")

    assert shown["key"] == sample.objects()[0]
    assert "a wrong signature" in shown["error"]
    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    assert said["kept"] == {"payload kept: its claim cannot be read": 1}
    assert len(sample.objects()) == 1


def test_purge_keeps_payloads_on_request(sample, letters):
    """With --keep-payloads, messages go and the sweep is left to find what they named."""
    sample.digest.delay(ROWS)
    letters.bury()

    assert outcome("purge", "--yes", "--keep-payloads")[1]["deleted"] == 1
    assert len(sample.objects()) == 1


def test_a_message_that_is_not_deleted_keeps_its_payload(sample, letters, proxy):
    """While SQS refuses the delete, purge releases nothing."""
    sample.digest.delay(ROWS)
    letters.bury()
    proxy.fail("DeleteMessageBatch", status=403)

    assert run("purge", "--yes")[0] == 2
    assert len(sample.objects()) == 1
    assert letters.depth(letters.dead_url) == 1


def test_a_payload_that_is_not_released_is_told(sample, letters, proxy):
    """When the store refuses the delete, the message is gone, and the payload is left to the sweep."""
    sample.digest.delay(ROWS)
    letters.bury()
    proxy.fail("DeleteObjects", status=403)
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    assert "pipeline sweep finds it" in next(iter(said["kept"]))


def test_an_unknown_queue_is_refused(letters):
    """A name that is neither a queue of the app nor its dead-letter queue is an error that lists them."""
    code, said = run("list", "nobody")

    assert code == 2
    assert letters.dead_name in said["error"]


def test_people_get_tables(sample, letters):
    """Without --json, list and show print text, and show says so when there is nothing."""
    sample.digest.delay(ROWS)
    empty = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "show"])
    letters.bury()
    listed = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "list"])
    moved = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "redrive"])

    assert "no messages" in empty.stdout
    assert listed.stdout.splitlines()[0].split() == ["queue", "messages", "oldest", "sources"]
    assert moved.stdout.splitlines()[1].split() == [letters.dead_name, "1", "0", "0", "0", "bytes", "0"]


def test_a_shared_dead_letter_queue_gives_back_to_the_right_queue(sample_of, moto_aws):
    """Where two queues share one, a message goes to the one that it was published to; others stay."""
    store = f"s3://{moto_aws.bucket()}/claims"
    sample = sample_of(store=store, conf={"task_routes": {"sample_app.add": {"queue": "other"}}})
    letters = Letters(sample, moto_aws)
    sample.app.amqp.queues.select_add("other")
    other = moto_aws.queue("other", VisibilityTimeout=0, RedrivePolicy=letters.policy)
    sample.add.delay(1, 2)
    sample.digest.delay(ROWS)
    for url in (letters.url, other):
        letters.url = url
        letters.bury()
    letters.sqs.send_message(QueueUrl=letters.dead_url, MessageBody="garbage")
    code, said = outcome("redrive")

    assert (code, said["moved"], sum(said["kept"].values())) == (1, 2, 1)
    assert letters.depth(other) == 1
    assert letters.depth(letters.dead_url) == 1


def test_predefined_queues_have_dead_letters_too(sample_of, moto_aws):
    """Queues that the app names by URL are asked with their own client, and so are their dead letters."""
    url = moto_aws.queue("there-dlq")
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}there-dlq", "maxReceiveCount": 1})
    options = {"predefined_queues": {"there": {"url": moto_aws.queue("there", RedrivePolicy=policy)}}}
    conf = {"task_default_queue": "there", "broker_transport_options": options}
    sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf=conf)
    moto_aws.client("sqs").send_message(QueueUrl=url, MessageBody="garbage")

    assert outcome("list")[1]["messages"] == 1
    assert outcome("redrive")[1]["moved"] == 1


def test_purge_leaves_what_is_not_ours(sample_of, moto_aws):
    """The payload of a claim that this app refuses is not its to release."""
    store = f"s3://{moto_aws.bucket()}/claims"
    sample = sample_of(store=store, options={"threshold_bytes": 0})
    letters = Letters(sample, moto_aws)
    sample.digest.delay(ROWS)
    letters.bury()
    object.__setattr__(serializer.installed().options, "alias", "elsewhere")
    shown = run("show")[1]["messages"][0]
    code, said = outcome("purge", "--yes")

    assert shown["error"].startswith("claim rejected [store=default]")
    assert (code, said["deleted"], said["released"]) == (0, 1, 0)
    assert len(sample.objects()) == 1


def test_purge_leaves_other_apps_messages(sample_of, ministack, monkeypatch):
    """In a shared dead-letter queue, what came from another app's queue stays, and its payload with it."""
    aws = entered(ministack, monkeypatch)  # moto does not say where a message came from
    sample = sample_of(store=f"s3://{aws.bucket()}/claims", options={"threshold_bytes": 0})
    letters = Letters(sample, aws)
    other = aws.queue("another-app", VisibilityTimeout=0, RedrivePolicy=letters.policy)
    sample.digest.delay(ROWS)
    letters.sqs.send_message(QueueUrl=other, MessageBody=letters.receive(letters.url)["Body"])
    for url in (letters.url, other):
        letters.url = url
        letters.bury()
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    reasons = ["its source queue does not belong to this app", "payload named by another message"]
    assert said["kept"] == dict.fromkeys(reasons, 1)
    assert letters.depth(letters.dead_url) == len(sample.objects()) == 1


@pytest.mark.parametrize(("words", "done"), [(("redrive",), "moved"), (("purge", "--yes"), "deleted")])
def test_what_somebody_else_holds_is_told(sample, letters, words, done):
    """A message that SQS did not show is counted as kept."""
    for _ in range(2):
        sample.digest.delay(ROWS)
    letters.bury()
    letters.sqs.receive_message(QueueUrl=letters.dead_url, VisibilityTimeout=600)
    code, said = outcome(*words)

    assert (code, said[done]) == (1, 1)
    assert said["kept"] == {"SQS did not return it: another consumer has it in flight": 1}


def test_sqs_that_does_not_answer_is_one_sentence(letters, monkeypatch):
    """A command ends with one sentence, and not with a traceback, when nobody answers."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    code, said = run("list")

    assert code == 2
    assert said["error"].startswith("SQS did not answer ListQueues")


def test_messages_that_cannot_be_given_back_come_by_themselves(sample, letters, proxy):
    """Without permission to give messages back, looking at them works all the same."""
    sample.digest.delay(ROWS)
    letters.bury()
    proxy.fail("ChangeMessageVisibilityBatch", status=403)

    assert len(run("show")[1]["messages"]) == 1
