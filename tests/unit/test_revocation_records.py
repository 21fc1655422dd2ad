"""What is written when a task is revoked, and when it is looked up."""

from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import UUID

import pytest
from celery import Celery
from celery.app.control import Control
from celery.app.trace import build_tracer

from pipeline.claimcheck import revocations, signed_record
from pipeline.claimcheck.signed_record import Record
from pipeline.deferred import running
from pipeline.errors import RevokedWhileWaitingError, StoreDeniedError, StoreUnavailableError
from pipeline.options import Options
from pipeline.publisher.control import ControlMixin
from pipeline.stores.memory import MemoryStore
from pipeline.stores.protocol import deadline
from pipeline.testing import FaultyStore

WAITED = {"claimcheck": {"wait_seconds": 90}}


@pytest.fixture
def app():
    """An app with a broker in memory, whose control is ours."""
    app = Celery("revoked", broker="memory://", set_as_current=False)
    app.control_cls = type("Control", (ControlMixin, Control), {})
    yield app
    app.close()


@pytest.fixture
def run(app, claimcheck):
    """Return a function that says what becomes of a task with such a request."""

    @app.task(name="look", shared=False)
    def look():
        try:
            running.check_not_revoked(claimcheck)
        except RevokedWhileWaitingError:
            return "revoked"
        return "ran"

    def become(task_id="id", **request):
        tracer = build_tracer("look", look, app=app, eager=True, propagate=True)
        return tracer(task_id, (), {}, {"id": task_id, **request}).retval

    return become


def test_a_task_that_waits_is_looked_up(claimcheck, run):
    """A task that has waited does not run if it was revoked; another one does, or one that waited shortly."""
    revocations.revoke(claimcheck, ["id"])

    assert run(**WAITED) == "revoked"
    assert (run("other", **WAITED), run()) == ("ran", "ran")
    for header in ({"wait_seconds": 9}, {"wait_seconds": "90"}, {}, 5):
        assert run(claimcheck=header) == "ran"


@pytest.mark.parametrize("call", ["revoke", "terminate"])
def test_revoking_leaves_a_record_for_each_task(app, claimcheck, call):
    """One id or many, with ``terminate`` or without: each has a record, also the second time."""
    for ids in ("one", ["two", UUID(int=3)], ("one",), b"two", {str(UUID(int=3))}):
        getattr(app.control, call)(ids)

    assert len(list(claimcheck.store.list("revoked/v1/"))) == 3


def test_what_is_asked_of_some_workers_alone_leaves_none(app, claimcheck):
    """A revocation for named workers is theirs, and other commands are none."""
    app.control.revoke("one", destination=["a@b"])
    app.control.broadcast("rate_limit", arguments={"task_name": "look", "rate_limit": "1/s"})

    assert list(claimcheck.store.list()) == []


def test_a_record_has_an_end(claimcheck, run):
    """A record that has expired counts no more; a second revocation makes it count again."""
    revocations.revoke(claimcheck, ["id"])
    records, [found] = claimcheck.store.records(), claimcheck.store.list()
    over = Record(owner="somebody", expires=datetime.now(UTC) - timedelta(seconds=1))
    records.write(found.key, signed_record.write(over, found.key), records.read(found.key)[1])
    assert run(**WAITED) == "ran"

    revocations.revoke(claimcheck, ["id"])
    assert run(**WAITED) == "revoked"


class Failing(MemoryStore):
    """A store whose records cannot be had."""

    error = StoreUnavailableError

    def records(self):
        """Return what fails."""
        return self

    def read(self, key):
        """Fail."""
        raise self.error(f"store unavailable [key={key}]")

    def write(self, key, content, tag):
        """Fail."""
        raise self.error(f"store unavailable [key={key}]")


class Denying(Failing):
    """A store that denies every call."""

    error = StoreDeniedError


class Timed(Failing):
    """A store that notes how long a read may take."""

    seconds = None

    def read(self, key):
        """Note until when the record must be here."""
        type(self).seconds = deadline() - monotonic()


@pytest.mark.parametrize("store", [Timed("claims")])
def test_a_record_is_waited_for_a_few_seconds(run, store):
    """A record that trickles in holds a task up for a few seconds, and not for ``store_retry_seconds``."""
    assert run(**WAITED) == "ran"
    assert 0 < store.seconds <= revocations.LOOK_UP_SECONDS


@pytest.mark.parametrize(
    "store", [FaultyStore(MemoryStore("claims"), [StoreUnavailableError("busy")], verbs=["read"])]
)
def test_a_store_that_is_busy_is_asked_again(claimcheck, run, store):
    """An error that passes hides no revocation."""
    revocations.revoke(claimcheck, ["id"])

    assert run(**WAITED) == "revoked"


@pytest.mark.parametrize("options", [{"store_retry_seconds": 0.1}])
@pytest.mark.parametrize("store", [Failing("claims"), Denying("claims")], ids=["unavailable", "denied"])
def test_without_the_store_tasks_run_and_revoking_goes_on(claimcheck, run, store, caplog):
    """Where the store does not answer, the task runs and workers know of the revocation; the log says so."""
    revocations.revoke(claimcheck, ["id"])

    assert run(**WAITED) == "ran"
    assert "revocation not kept" in caplog.text
    assert "whether it was revoked is not known" in caplog.text


class Plain:
    """A store without records."""

    prefix = "claims"


@pytest.mark.parametrize("store", [Plain()])
def test_a_store_without_records_keeps_none(claimcheck, run, store):
    """A store of the application's own need not keep records: revoking is then what it is in Celery."""
    revocations.revoke(claimcheck, ["id"])

    assert run(**WAITED) == "ran"


@pytest.mark.parametrize("options", [{"signing_key": b"k" * 32}])
def test_a_record_of_somebody_else_does_not_count(claimcheck, run, options, store):
    """A record that is not signed with our key stops no task."""
    revocations.revoke(claimcheck, ["id"])
    object.__setattr__(claimcheck, "options", Options(signing_key=b"x" * 32))

    assert run(**WAITED) == "ran"
