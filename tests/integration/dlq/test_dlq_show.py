"""``pipeline dlq list`` and ``show`` explain dead letters one by one."""

import json
import math
import re
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from dead_letters import ROWS, DeadLetterQueue, outcome, run

from pipeline.cli.main import main
from pipeline.serializer import serializer

pytestmark = pytest.mark.aws


def test_list_counts(sample, dead_letters):
    """An empty dead-letter queue is ok; one with messages is a finding, with depth and age."""
    empty = outcome("list")
    sample.digest.delay(ROWS)
    dead_letters.bury()
    code, said = outcome("list")

    assert empty == (
        0,
        {"queue": dead_letters.dead_name, "messages": 0, "oldest": None, "sources": dead_letters.name},
    )
    assert (code, said["messages"]) == (1, 1)
    assert datetime.now(UTC).timestamp() - datetime.fromisoformat(said["oldest"]).timestamp() < 60


def test_show_explains_a_message(sample, dead_letters):
    """A message is shown with its task, its claim and its payload, and never with its arguments."""
    task = sample.digest.delay(["confidential"])
    dead_letters.bury()
    code, said = run("show", dead_letters.name)
    [shown] = said["messages"]

    assert code == 0
    assert (shown["task"], shown["task_id"], shown["queue"]) == (
        "sample_app.digest",
        task.id,
        dead_letters.dead_name,
    )
    assert (shown["store"], shown["key"]) == ("default", sample.objects()[0])
    assert shown["payload_there"]
    assert shown["receive_count"] >= 1
    assert (shown["result"], shown["error"]) == ("PENDING", None)
    assert "confidential" not in json.dumps(said)


def test_show_prints_arguments_on_request(sample, dead_letters):
    """With --arguments the payload is read and printed."""
    sample.digest.delay(["confidential"], size=3)
    dead_letters.bury()
    [shown] = run("show", "--arguments")[1]["messages"]

    assert (shown["args"], shown["kwargs"]) == ([["confidential"]], {"size": 3})


def test_arguments_that_json_has_not_are_printed(sample_of, moto_aws):
    """Keys that are no texts, and numbers that are none, are printed as text: the output is strict JSON."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
    dead_letters = DeadLetterQueue(sample, moto_aws)
    sample.digest.delay({b"key": [math.nan, -math.inf, 1.5]}, (1, 2))
    dead_letters.bury()
    result = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "show", "--arguments", "--json"])
    said = json.loads(result.stdout, parse_constant=pytest.fail)

    assert said["messages"][0]["args"] == [{"b'key'": ["nan", "-inf", 1.5]}, [1, 2]]


def test_show_does_without_results(sample_of, moto_aws):
    """The result is unknown without a result backend."""
    conf = {"result_backend": "disabled://"}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf=conf)
    dead_letters = DeadLetterQueue(sample, moto_aws)
    sample.digest.delay(ROWS)
    dead_letters.bury()
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
def test_show_says_what_a_worker_would(sample, dead_letters, change, error):
    """Each kind of message that cannot be run is explained by the error that a worker would meet."""
    sample.digest.delay(ROWS)
    message = json.loads(dead_letters.receive(dead_letters.url)["Body"])
    dead_letters.sqs.purge_queue(QueueUrl=dead_letters.url)
    dead_letters.sqs.send_message(QueueUrl=dead_letters.dead_url, MessageBody=json.dumps(change(message)))
    code, said = run("show", "--arguments")

    assert code == 0
    assert said["messages"][0]["error"].startswith(error)


def test_show_escapes_what_is_not_printable(sample, dead_letters):
    """Control characters in headers are escaped on the terminal."""
    sample.digest.delay(ROWS)
    message = json.loads(dead_letters.receive(dead_letters.url)["Body"])
    dead_letters.sqs.purge_queue(QueueUrl=dead_letters.url)
    message["headers"] |= {"task": "\x1b[31mred\nqueue  evil", "id": "lone \ud800"}
    dead_letters.sqs.send_message(QueueUrl=dead_letters.dead_url, MessageBody=json.dumps(message))
    shown = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "show"])

    assert shown.exit_code == 0
    assert "\\x1b[31mred\\nqueue  evil" in shown.stdout
    assert "lone \\ud800" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_show_goes_on_after_a_message_that_cannot_be_read(sample, dead_letters):
    """A message that cannot be read does not stop the others from being shown."""
    sample.digest.delay(ROWS)
    message = json.loads(dead_letters.receive(dead_letters.url)["Body"])
    dead_letters.bury()
    for body in (b"[1, 2]", b'[["well"], {"and": "good"}, {}]', b"[[], {}, null]", b'{"args": [1]}'):
        changed = json.dumps(json_body(body)(message))
        dead_letters.sqs.send_message(QueueUrl=dead_letters.dead_url, MessageBody=changed)
    code, said = run("show", "--arguments")
    shown = [(each["args"], each["kwargs"]) for each in said["messages"]]
    expected = [(None, None), (["well"], {"and": "good"}), ([], {}), ([ROWS], {}), ([1], {})]

    assert code == 0
    assert sorted(shown, key=str) == sorted(expected, key=str)


def test_show_misses_payloads(sample, dead_letters):
    """A claim whose payload is gone, or another's, is explained without a read, and with one."""
    for _ in range(2):
        sample.digest.delay(ROWS)
    dead_letters.bury()
    store = serializer.installed().store
    gone, changed = sample.objects()
    store.delete([gone, changed])
    store.put(changed, b"another", {})
    errors = {shown["key"]: shown["error"] for shown in run("show")[1]["messages"]}

    assert errors[gone].startswith("payload missing")
    assert errors[changed].startswith("payload corrupt: size 7 bytes")
    assert all(shown["args"] is None for shown in run("show", "--arguments")[1]["messages"])


def test_show_narrows_down(sample, dead_letters):
    """--task-id and --limit choose messages, and the others are left as they are."""
    tasks = [sample.digest.delay(ROWS) for _ in range(3)]
    dead_letters.bury()

    assert len(run("show", "--limit", "2")[1]["messages"]) == 2
    [shown] = run("show", "--task-id", tasks[1].id)[1]["messages"]
    assert shown["task_id"] == tasks[1].id
    assert dead_letters.depth(dead_letters.dead_url) == 3


@pytest.mark.parametrize("words", [("show",), ("redrive",), ("purge", "--yes"), ("purge",)])
def test_a_task_that_is_not_there_is_an_error(sample, dead_letters, words):
    """A task id without a message is an error that names the queues that were searched."""
    sample.digest.delay(ROWS)
    dead_letters.bury()
    code, said = run(*words, "--task-id", "of-nobody", input="y\n")

    assert code == 2
    assert said["error"].startswith(
        f"no message of task 'of-nobody' in {dead_letters.dead_name}: check the id"
    )
    assert dead_letters.depth(dead_letters.dead_url) == 1


def test_people_read_sizes_with_units(sample, dead_letters):
    """Without --json, sizes have units; with it they are numbers of bytes."""
    sample.digest.delay("x" * 2_000_000)
    dead_letters.bury()
    shown = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "show"]).stdout
    [reported] = run("show")[1]["messages"]

    assert re.search(r"^payload_bytes +1\.9 MiB$", shown, re.MULTILINE)
    assert 2_000_000 < reported["payload_bytes"] < 2_000_100


def test_an_unknown_queue_is_an_error(dead_letters):
    """A name that is neither a queue of the app nor its dead-letter queue is an error that lists them."""
    code, said = run("list", "nobody")

    assert code == 2
    assert dead_letters.dead_name in said["error"]


def test_people_get_tables(sample, dead_letters):
    """Without --json, list and show print text, and show says so when there is nothing."""
    sample.digest.delay(ROWS)
    empty = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "show"])
    dead_letters.bury()
    listed = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "list"])
    moved = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "redrive"])

    assert "no messages" in empty.stdout
    assert listed.stdout.splitlines()[0].split() == ["queue", "messages", "oldest", "sources"]
    assert moved.stdout.splitlines()[1].split() == [dead_letters.dead_name, "1", "0", "0", "0", "bytes", "0"]


def test_sqs_that_does_not_answer_is_one_sentence(dead_letters, monkeypatch):
    """A command prints one sentence and no traceback when SQS does not answer."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    code, said = run("list")

    assert code == 2
    assert said["error"].startswith("SQS did not answer ListQueues")


def test_messages_that_cannot_be_returned_become_visible_later(sample, dead_letters, proxy):
    """``show`` works without permission to make messages visible again."""
    sample.digest.delay(ROWS)
    dead_letters.bury()
    proxy.fail("ChangeMessageVisibilityBatch", status=403)

    assert len(run("show")[1]["messages"]) == 1
