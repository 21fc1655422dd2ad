"""``pipeline sweep`` deletes orphans, keeps what a dead letter names, and reports both."""

import json
import subprocess
import sys
from base64 import b64decode, b64encode

import msgspec
import pytest
from click.testing import CliRunner
from workers import APPS

from pipeline.admin import stale_listeners
from pipeline.admin.dead_letter_queues import DeadLetterQueues
from pipeline.claimcheck.keys import new_key
from pipeline.cli import output
from pipeline.cli.main import main
from pipeline.serializer import serializer
from pipeline.transport.addressing import LISTENER
from pipeline.transport.fanout.listeners import RENEWED
from pipeline.transport.queues import Queues

pytestmark = pytest.mark.aws

NOW = ("--older-than", "0s", "--force-age")


def run(*words):
    """Run the command in this process, and return its exit code and its one JSON object."""
    result = CliRunner().invoke(main, ["-A", "sample_app", "sweep", "--json", *words])
    return result.exit_code, json.loads(result.stdout)


def dead_letter(sample, task):
    """Publish a task, and move its message to the dead-letter queue as SQS does."""
    task.delay([1, 2, 3])
    [message] = sample.sqs.receive_message(QueueUrl=sample.url)["Messages"]
    sample.sqs.send_message(QueueUrl=sample.dead_url, MessageBody=message["Body"])
    sample.sqs.delete_message(QueueUrl=sample.url, ReceiptHandle=message["ReceiptHandle"])


def test_too_small_an_age_is_an_error(queued):
    """An age at which a message may still name the payload is an error of one sentence."""
    code, said = run("--older-than", "18d")

    assert code == 2
    assert "below 19 days" in said["error"]
    assert "--force-age" in said["error"]


def test_nothing_found_is_no_finding(queued):
    """Young payloads are left alone, and the exit code is 0."""
    queued.digest.delay([1])
    code, said = run()

    assert code == 0
    assert said["older_than_seconds"] == 20 * 86_400
    assert (said["objects"], said["young"], said["orphans"]) == (1, 1, 0)


def test_a_dry_run_finds_and_deletes_nothing(queued):
    """Without --delete, orphans are counted, stay, and are a finding."""
    queued.digest.delay([1])
    code, said = run(*NOW)

    assert code == 1
    assert (said["orphans"], said["deleted"]) == (1, 0)
    assert len(queued.objects()) == 1


def test_delete_spares_what_a_dead_letter_names(queued):
    """With --delete the orphan goes, a dead letter's payload and a foreign object stay, and twice is safe."""
    store = serializer.installed().store
    dead_letter(queued, queued.digest)
    [kept] = queued.objects()
    store.put(new_key(store.prefix), b"orphan", {})
    store.put(f"{store.prefix}/notes.txt", b"foreign", {})
    code, said = run(*NOW, "--delete")

    assert code == 0
    assert (said["named"], said["foreign"], said["deleted"]) == (1, 1, 1)
    assert sorted(queued.objects()) == sorted([kept, f"{store.prefix}/notes.txt"])
    assert run(*NOW, "--delete")[1]["deleted"] == 0


def renewed(sample, **header):
    """Dead-letter a message whose claim has an unreadable version, and return its payload's key."""
    sample.digest.delay([1, 2, 3])
    [message] = sample.sqs.receive_message(QueueUrl=sample.url)["Messages"]
    sent = json.loads(message["Body"])
    sent["headers"]["claimcheck"] |= header
    wire = msgspec.msgpack.decode(b64decode(sent["body"]))
    sent["body"] = b64encode(msgspec.msgpack.encode([2, *wire[1:]])).decode()
    sample.sqs.send_message(QueueUrl=sample.dead_url, MessageBody=json.dumps(sent))
    sample.sqs.delete_message(QueueUrl=sample.url, ReceiptHandle=message["ReceiptHandle"])
    return sample.objects()[0]


def test_delete_spares_what_an_unreadable_claim_names(queued):
    """A claim of a newer version cannot be read here, and its header names the payload all the same."""
    key = renewed(queued)
    code, said = run(*NOW, "--delete")

    assert (code, said["named"], said["deleted"], said["unread_queues"]) == (0, 1, 0, [])
    assert queued.objects() == [key]


def test_a_key_that_is_no_text_names_nothing(queued):
    """A header key that is no text names no payload and raises no error."""
    renewed(queued, key=["a", "list"])
    said = run("--older-than", "19d")[1]

    assert (said["named"], said["unread_queues"]) == (0, [f"{queued.queue}-dlq"])


def test_a_claim_that_names_no_key_stops_a_delete(queued):
    """A claim that cannot be read and that no header explains may name anything: nothing is deleted."""
    renewed(queued)
    [message] = queued.sqs.receive_message(QueueUrl=queued.dead_url)["Messages"]
    sent = json.loads(message["Body"])
    del sent["headers"]["claimcheck"]
    queued.sqs.send_message(QueueUrl=queued.dead_url, MessageBody=json.dumps(sent))
    queued.sqs.delete_message(QueueUrl=queued.dead_url, ReceiptHandle=message["ReceiptHandle"])
    code, said = run("--delete")

    assert code == 2
    assert "another signing key or version" in said["error"]
    assert len(queued.objects()) == 1


def test_dead_letters_stay_visible(queued):
    """A sweep leaves the messages of a dead-letter queue visible."""
    dead_letter(queued, queued.digest)
    run(*NOW)

    assert len(queued.sqs.receive_message(QueueUrl=queued.dead_url)["Messages"]) == 1


def test_a_queue_that_cannot_be_read_whole_stops_a_forced_sweep(queued):
    """An age below the safe one is an error while another consumer has dead letters in flight."""
    dead_letter(queued, queued.digest)
    queued.sqs.receive_message(QueueUrl=queued.dead_url, VisibilityTimeout=600)
    code, said = run(*NOW, "--delete")

    assert code == 2
    assert "another consumer has them in flight" in said["error"]
    assert len(queued.objects()) == 1
    with Queues(queued.app) as queues:
        assert DeadLetterQueues(queued.app, queues, serializer.installed()).named_keys().unread


def test_a_queue_that_cannot_be_read_whole_stops_every_delete(queued):
    """Unread dead letters stop a delete at any age, and not a dry run."""
    dead_letter(queued, queued.digest)
    queued.sqs.receive_message(QueueUrl=queued.dead_url, VisibilityTimeout=600)
    name = f"{queued.queue}-dlq"
    code, said = run("--delete")
    shown = CliRunner().invoke(main, ["-A", "sample_app", "sweep"])

    assert code == 2
    assert f"not all messages could be read of {name}" in said["error"]
    assert "--force-age" in said["error"]
    assert shown.exit_code == 0
    assert ["unread", "queues", name] in [line.split() for line in shown.stdout.splitlines()]
    assert run("--delete", "--force-age")[0] == 0


def test_the_table_and_the_real_command(queued):
    """As a process of its own, the command prints a table, its progress nowhere, and exits with 1."""
    queued.digest.delay([1])
    words = [sys.executable, "-m", "pipeline", "-A", "sample_app", "sweep", *NOW]
    done = subprocess.run(
        words, cwd=APPS, env=queued.environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1, done.stderr
    assert ["orphans", "1"] in [line.split() for line in done.stdout.splitlines()]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep"], "no app"),
        (["-A", "no.such.app", "sweep"], "cannot be loaded"),
        (["-A", "sample_app", "sweep", "--older-than", "soon"], "is not an age"),
        (["-A", "sample_app", "sweep", "--older-than", "999999d"], "at most 36500d"),
        (["-A", "sample_app", "top", "--interval", "nan"], "'nan' is not a number"),
    ],
)
def test_wrong_calls_are_errors(queued, words, message):
    """A call that cannot work is one sentence and exit code 2."""
    result = CliRunner().invoke(main, words)

    assert result.exit_code == 2
    assert message in result.output


def test_other_brokers_are_an_error(sample_of):
    """Queues of another broker cannot be asked, so the command says so."""
    sample_of(broker="memory://", store="memory://sweep")
    code, said = run()

    assert code == 2
    assert "needs queues of SQS" in said["error"]


def test_progress_is_for_terminals(monkeypatch, capsys):
    """On a terminal the bar is shown on stderr, and stdout stays as it is."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with output.progress("orphans") as advance:
        advance(3)

    assert capsys.readouterr().out == ""


def test_progress_needs_rich(monkeypatch, capsys):
    """Without rich there is no bar, and everything else goes on."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "pipeline.cli.progress_bar", None)
    with output.progress("orphans") as advance:
        advance(3)

    assert capsys.readouterr().err == ""


def test_a_sweep_that_is_denied_a_delete_is_an_error(queued, proxy):
    """Orphans that the store did not delete make the exit code 2, and are counted."""
    queued.digest.delay([1])
    [key] = queued.objects()
    error = f"<DeleteResult><Error><Key>{key}</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    proxy.fail("DeleteObjects", status=200, content=error.encode())
    code, said = run(*NOW, "--delete")

    assert (code, said["failed"], said["deleted"]) == (2, 1, 0)


def test_an_answer_that_is_no_xml_ends_only_the_listeners_part(queued, proxy, moto_aws):
    """An SNS answer in plain text ends only the sweep of listeners, and payloads are swept."""
    policy = {"Statement": [{"Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:eu-west-1:1:x"}}}]}
    moto_aws.queue(f"{LISTENER}alive", Policy=json.dumps(policy))
    queued.digest.delay([1])
    proxy.fail("ListSubscriptionsByTopic", status=503, content=b"busy")
    code, said = run(*NOW, "--delete")

    assert (code, said["listeners_error"], said["deleted"]) == (1, "ResponseParserError", 1)


def test_all_listeners_are_looked_at(queued, proxy, moto_aws, monkeypatch):
    """The sweep reads every page of SQS's list of queues."""
    for number in range(5):
        moto_aws.queue(f"{LISTENER}{number}")
    monkeypatch.setitem(stale_listeners.PAGES, "PageSize", 2)
    said = run()[1]

    assert said["listeners"] == 5
    assert proxy.operations["ListQueues"] >= 3


def test_a_listener_that_may_not_be_removed_is_a_finding(queued, proxy, moto_aws):
    """With --delete, a listener's queue that stays makes the exit code 1, and AWS's code is reported."""
    url = moto_aws.queue(f"{LISTENER}dead")
    queued.sqs.tag_queue(QueueUrl=url, Tags={RENEWED: "0"})
    proxy.fail("DeleteQueue", status=403, content=b'{"__type": "AccessDenied"}', times=1)
    code, said = run("--delete")

    assert (code, said["stale_listeners"], said["removed_listeners"]) == (1, 1, 0)
    assert said["listeners_error"] == "AccessDenied"
    assert run("--delete")[0] == 0
