"""With a signing key nothing unsigned is accepted: what ``install`` sets, and what a worker checks."""

import logging
from datetime import UTC, datetime

import pytest
from celery import Celery

import pipeline
from pipeline.claimcheck import claim, signed_record
from pipeline.claimcheck.claim import Message
from pipeline.claimcheck.signed_record import Record
from pipeline.errors import ClaimError, PayloadCorruptError
from pipeline.installation import uninstall
from pipeline.options import Options
from pipeline.serializer import serializer
from pipeline.stores.memory import MemoryStore
from pipeline.worker.steps import _check_configuration, _warn_of_memory

KEY = b"a key of the tests, for all"


@pytest.fixture
def app():
    yield Celery("sample_app", broker="sqs://", set_as_current=False)
    uninstall()


@pytest.mark.parametrize("result_serializer", ["json", "claimcheck"])
def test_a_key_leaves_one_content_type(app, result_serializer):
    """With a key the app accepts claims alone, and of results what it writes."""
    app.conf.update(accept_content=["json", "pickle"], result_serializer=result_serializer)
    pipeline.install(app, "memory://shop", signing_key=KEY)

    assert app.conf.accept_content == ["claimcheck"]
    assert app.conf.result_accept_content == [result_serializer]


def test_the_grace_mode_leaves_all_of_them(app):
    """While a key is rolled out the app goes on accepting what it accepted."""
    app.conf.result_accept_content = ["json"]
    pipeline.install(app, "memory://shop", signing_key=KEY, accept_unsigned=True)

    assert app.conf.accept_content == ["json", "claimcheck"]
    assert app.conf.result_accept_content == ["json", "claimcheck"]


def sealed(key):
    made = serializer.installed().seal("value")
    return claim.write(Message(shape="value", payload=made), key)


@pytest.mark.parametrize("other", [None, b"the key of somebody else"])
def test_a_result_without_our_signature_raises(app, other):
    """Reading a result that was signed with another key raises an error."""
    pipeline.install(app, "memory://shop", signing_key=KEY)

    with pytest.raises(ClaimError, match="claim rejected: it carries"):
        serializer.decode(sealed(other))["status"]


def test_the_grace_mode_accepts_what_has_no_signature(app):
    """While a key is rolled out a missing signature is accepted, and a wrong one is not."""
    pipeline.install(app, "memory://shop", signing_key=KEY, accept_unsigned=True)

    assert serializer.decode(sealed(None)) == serializer.decode(sealed(KEY)) == "value"
    with pytest.raises(ClaimError, match="a wrong signature"):
        serializer.decode(sealed(b"the key of somebody else"))["status"]


def test_the_grace_mode_accepts_records_without_signature():
    """So it is with the records of idempotent calls."""
    record = Record(owner="a", expires=datetime(2030, 1, 1, tzinfo=UTC))
    content = signed_record.write(record, "key")

    assert signed_record.read(content, "key", KEY, accept_unsigned=True).owner == "a"
    with pytest.raises(PayloadCorruptError):
        signed_record.read(content, "key", KEY)
    with pytest.raises(PayloadCorruptError):
        signed_record.read(signed_record.write(record, "key", b"another"), "key", KEY, accept_unsigned=True)


def test_a_task_that_writes_unsigned_messages_is_found(app):
    """A worker does not start with a task whose messages no worker would accept; without a key it does."""
    made = pipeline.install(app, "memory://shop", signing_key=KEY)

    @app.task(name="plain", serializer="json", shared=False)
    def plain():
        pass

    with pytest.raises(ValueError, match=r"accepted by no worker: plain; remove their serializer="):
        _check_configuration(app, made.options)
    _check_configuration(app, Options(signing_key=KEY, accept_unsigned=True))


def test_content_types_that_were_added_later_are_found(app):
    """A worker does not start with a key and a content type that is not signed."""
    made = pipeline.install(app, "memory://shop", signing_key=KEY)
    app.conf.accept_content = ["json", "claimcheck"]

    with pytest.raises(ValueError, match=r"accept_content is .*nothing unsigned may be accepted"):
        _check_configuration(app, made.options)


@pytest.mark.parametrize(("transport", "count"), [("sqs", 1), ("redis", 1), ("memory", 0)])
def test_a_store_in_memory_is_warned_about(caplog, transport, count):
    """A payload in this process's memory is of no use to those that its message goes to."""
    with caplog.at_level(logging.WARNING):
        _warn_of_memory(MemoryStore(), transport)

    assert len([record for record in caplog.records if "its own process alone" in record.message]) == count
