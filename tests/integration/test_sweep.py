"""The sweep: what is an orphan, what never is, and what the command says about it."""

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from click.testing import CliRunner
from workers import APPS

from pipeline.admin import received_messages, stale_listeners, sweep
from pipeline.admin.dead_letter_queues import DeadLetterQueues
from pipeline.admin.sweep import Ages, Swept
from pipeline.claimcheck.keys import new_handle_key, new_key
from pipeline.cli import output
from pipeline.cli.main import main
from pipeline.errors import StoreDeniedError
from pipeline.serializer import serializer
from pipeline.stores.memory import MemoryStore
from pipeline.transport.addressing import LISTENER
from pipeline.transport.fanout.listeners import RENEWED
from pipeline.transport.queues import Queue, Queues

pytestmark = pytest.mark.aws


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Ask without waiting: a stand-in has one server."""
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)


DAY = timedelta(days=1)
NOW = ("--older-than", "0s", "--force-age")


def run(*words):
    """Run the command in this process, and return its exit code and its one JSON object."""
    result = CliRunner().invoke(main, ["-A", "sample_app", "sweep", "--json", *words])
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def queued(sample, moto_aws):
    """The sample with a queue that keeps messages for 4 days, and a dead-letter queue that does for 14."""
    name = sample.queue
    sample.dead_url = moto_aws.queue(f"{name}-dlq", MessageRetentionPeriod=14 * 86_400)
    arn = f"arn:aws:sqs:eu-west-1:123456789012:{name}-dlq"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    sample.url = moto_aws.queue(name, MessageRetentionPeriod=4 * 86_400, RedrivePolicy=policy)
    sample.sqs = moto_aws.client("sqs")
    return sample


def dead_letter(sample, task):
    """Publish a task, and move its message to the dead-letter queue as SQS does."""
    task.delay([1, 2, 3])
    [message] = sample.sqs.receive_message(QueueUrl=sample.url)["Messages"]
    sample.sqs.send_message(QueueUrl=sample.dead_url, MessageBody=message["Body"])
    sample.sqs.delete_message(QueueUrl=sample.url, ReceiptHandle=message["ReceiptHandle"])


def aged(days):
    """Return so many days for whatever lies in a store."""
    return Ages(days * DAY, days * DAY)


@dataclass(frozen=True)
class Aged(MemoryStore):
    """A store whose payloads are ten days older than they are."""

    def list(self, prefix=""):
        for found in super().list(prefix):
            yield replace(found, modified=found.modified - 10 * DAY)


def test_orphans_are_old_and_unnamed():
    """A payload is an orphan if it is old enough, its key is of our grammar, and no message names it."""
    store = Aged("claims")
    keys = [new_key("claims", datetime.now(UTC) - 30 * DAY) for _ in range(3)]
    for key in (*keys, "claims/notes.txt"):
        store.put(key, b"12345", {})
    swept = Swept()
    found = list(sweep.orphans(store, aged(9), {keys[0]}, swept))

    assert {each.key for each in found} == set(keys[1:])
    assert (swept.objects, swept.foreign, swept.named, swept.orphans, swept.orphan_bytes) == (4, 1, 1, 2, 10)
    assert list(sweep.orphans(store, aged(11), set(), Swept())) == []


@pytest.mark.parametrize(("ttl_days", "age_days", "is_orphan"), [(1, 3, True), (7, 7, False), (7, 9, True)])
def test_handles_are_orphans_when_their_class_has_ended(ttl_days, age_days, is_orphan):
    """The payload of a handle is an orphan a day after its TTL, whatever the age of other payloads."""
    store = MemoryStore("claims")
    store.put(new_handle_key("claims", ttl_days), b"1", {})
    now = datetime.now(UTC) + age_days * DAY

    assert bool(list(sweep.orphans(store, aged(99), set(), Swept(), now))) is is_orphan


def test_deletes_come_in_batches(monkeypatch):
    """Orphans are deleted batch by batch: a sweep that is broken off has done part of its work."""
    monkeypatch.setattr(sweep, "S3_DELETE_COUNT", 2)
    store, swept = MemoryStore("claims"), Swept()
    for _ in range(5):
        store.put(new_key("claims"), b"1", {})
    deleting = sweep.delete(store, sweep.orphans(store, aged(0), set(), swept), swept)
    next(deleting)

    assert len(list(store.list())) == 3
    assert list(deleting) == [2, 1]
    assert list(store.list()) == []


def test_what_a_store_keeps_is_told():
    """Keys that the store would not delete are in the result."""

    class Stubborn(MemoryStore):
        def delete(self, keys):
            return dict.fromkeys(keys, StoreDeniedError("an object lock"))

    store, swept = Stubborn("claims"), Swept()
    store.put(key := new_key("claims"), b"1", {})

    assert list(sweep.delete(store, sweep.orphans(store, aged(0), set(), swept), swept)) == [1]
    assert (swept.failed, swept.deleted) == ([key], 0)


def test_the_least_age_is_that_of_the_longest_chain(queued):
    """Retention of queue and dead-letter queue add up, and a retry may name a payload that is a day older."""
    with Queues(queued.app) as queues:
        assert sweep.minimum_age(queues) == 19 * DAY


@pytest.mark.parametrize(
    ("expires", "chord_expires", "days"),
    [(86_400, None, 1), (2 * DAY, 86_400, 2), (86_400, 3 * DAY, 3), (None, None, 35), (0, 86_400, 35)],
)
def test_a_result_s_least_age_is_when_it_expires(queued, expires, chord_expires, days):
    """Payloads of results live as long as Celery keeps results; for ever counts as the payloads' TTL."""
    queued.app.conf.update(result_expires=expires, result_chord_expires=chord_expires)

    assert sweep.minimum_result_age(queued.app, 35 * 86_400) == days * DAY


def test_results_have_an_age_of_their_own():
    """A result is an orphan when it has expired, while payloads of that age may be in use."""
    store = Aged("claims")
    today = datetime.now(UTC) - 30 * DAY
    result, payload = new_key("claims/results", today), new_key("claims", today)
    for key in (result, payload):
        store.put(key, b"1", {})

    assert [each.key for each in sweep.orphans(store, Ages(19 * DAY, 2 * DAY), set(), Swept())] == [result]
    assert [each.key for each in sweep.orphans(store, Ages(2 * DAY, 19 * DAY), set(), Swept())] == [payload]


def test_a_queue_that_is_not_there_counts_as_the_longest(sample):
    """Of a queue that does not exist today nothing is known, so SQS's own limits count."""
    with Queues(sample.app) as queues:
        assert sweep.minimum_age(queues) == 29 * DAY

        sample.app.amqp.queues.select_add("orders.fifo")
        assert sweep.minimum_age(queues) == 43 * DAY


def test_too_small_an_age_is_refused(queued):
    """An age at which a message may still name the payload is refused in one sentence."""
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
    """Bury a message whose claim is of a version that nobody here can read, and return its payload's key."""
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
    """Anybody can write a header: what is no text is no key, no error, and no answer."""
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


def test_dead_letters_are_given_back(queued):
    """A sweep leaves the messages of a dead-letter queue where they are, visible at once."""
    dead_letter(queued, queued.digest)
    run(*NOW)

    assert len(queued.sqs.receive_message(QueueUrl=queued.dead_url)["Messages"]) == 1


def test_a_queue_that_cannot_be_read_whole_stops_a_forced_sweep(queued):
    """While somebody else holds dead letters, an age below the safe one is an error."""
    dead_letter(queued, queued.digest)
    queued.sqs.receive_message(QueueUrl=queued.dead_url, VisibilityTimeout=600)
    code, said = run(*NOW, "--delete")

    assert code == 2
    assert "another consumer has them in flight" in said["error"]
    assert len(queued.objects()) == 1
    with Queues(queued.app) as queues:
        assert DeadLetterQueues(queued.app, queues, serializer.installed()).named_keys().unread


def test_a_queue_that_cannot_be_read_whole_stops_every_delete(queued):
    """Unread dead letters may name a payload of any age: a safe age is refused too, a dry run goes on."""
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


def test_other_brokers_are_refused(sample_of):
    """Queues of another broker cannot be asked, so the command says so."""
    sample_of(broker="memory://", store="memory://sweep")
    code, said = run()

    assert code == 2
    assert "needs queues of SQS" in said["error"]


def test_ages_are_read():
    """Seconds, minutes, hours and days are understood."""
    from pipeline.cli.sweep import Age

    ages = [Age().convert(text, None, None) for text in ("5s", "90m", "36h", "19d")]
    assert ages == [timedelta(seconds=5), timedelta(minutes=90), timedelta(hours=36), 19 * DAY]


def test_a_fifo_queue_counts_twice():
    """The clock of a FIFO queue's message starts anew when it is dead-lettered."""
    queue, dead = (
        Queue(name, "", {"MessageRetentionPeriod": "100"}, None) for name in ("a.fifo", "a-dlq.fifo")
    )

    assert sweep._messages_seconds(queue, dead) == 300
    assert sweep._messages_seconds(queue, None) == 100


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


def test_a_sweep_that_is_refused_a_delete_is_an_error(queued, proxy):
    """Orphans that the store would not delete make the exit code 2, and are counted."""
    queued.digest.delay([1])
    [key] = queued.objects()
    error = f"<DeleteResult><Error><Key>{key}</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    proxy.fail("DeleteObjects", status=200, content=error.encode())
    code, said = run(*NOW, "--delete")

    assert (code, said["failed"], said["deleted"]) == (2, 1, 0)


def test_an_answer_that_is_no_xml_ends_only_the_listeners_part(queued, proxy, moto_aws):
    """Where a gateway answers for SNS in plain text, that is the listeners' error, and payloads are swept."""
    policy = {"Statement": [{"Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:eu-west-1:1:x"}}}]}
    moto_aws.queue(f"{LISTENER}alive", Policy=json.dumps(policy))
    queued.digest.delay([1])
    proxy.fail("ListSubscriptionsByTopic", status=503, content=b"busy")
    code, said = run(*NOW, "--delete")

    assert (code, said["listeners_error"], said["deleted"]) == (1, "ResponseParserError", 1)


def test_all_listeners_are_looked_at(queued, proxy, moto_aws, monkeypatch):
    """SQS tells of more queues only if it was asked for so many at a time."""
    for number in range(5):
        moto_aws.queue(f"{LISTENER}{number}")
    monkeypatch.setitem(stale_listeners.PAGES, "PageSize", 2)
    said = run()[1]

    assert said["listeners"] == 5
    assert proxy.operations["ListQueues"] >= 3


def test_a_listener_that_may_not_be_removed_is_a_finding(queued, proxy, moto_aws):
    """With --delete, a dead listener's queue that stays makes the exit code 1, and AWS's code is told."""
    url = moto_aws.queue(f"{LISTENER}dead")
    queued.sqs.tag_queue(QueueUrl=url, Tags={RENEWED: "0"})
    proxy.fail("DeleteQueue", status=403, content=b'{"__type": "AccessDenied"}', times=1)
    code, said = run("--delete")

    assert (code, said["stale_listeners"], said["removed_listeners"]) == (1, 1, 0)
    assert said["listeners_error"] == "AccessDenied"
    assert run("--delete")[0] == 0
