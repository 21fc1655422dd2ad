"""What keeps a message from being a task, header by header and body by body."""

import json
import math
from datetime import UTC, datetime
from uuid import UUID

import pytest
from kombu.message import Message
from kombu.utils.json import dumps

from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck.claim import Inline
from pipeline.claimcheck.claim import Message as Body
from pipeline.serializer import serializer
from pipeline.worker.validation import drop_hiding_headers, examine, make_ids_texts

HEADERS = {"task": "t", "id": "1"}
ACCEPTED = {"application/json", serializer.CONTENT_TYPE}


def message(body=b"[[1], {}, {}]", content_type="application/json", **headers):
    options = {"content_type": content_type, "content_encoding": "utf-8", "accept": ACCEPTED}
    return Message(body=body, headers={**HEADERS, **headers}, **options)


@pytest.mark.parametrize(
    "headers",
    [
        {"timelimit": value}
        for value in (5, [1], [1, 2, 3], ["a", "b"], [math.nan, 1], [10**400, 1], [math.inf, 1])
    ]
    + [{"eta": value} for value in (5, [], "", "yesterday", {})]
    + [{"expires": value} for value in ([1], 5, "soon")]
    + [
        {"stamped_headers": 1}, {"stamped_headers": [[1]]}, {"stamps": [1]}, {"shadow": []}, {"group": {}},
        {"retries": "1"}, {"retries": -1}, {"claimcheck-republished": []}, {"argsrepr": [1]}, {"id": None},
        {"id": []}, {"id": b"\xff"}, {"task": []}, {"root_id": []},
        {"errbacks": 5}, {"errbacks": [5]},
    ],
)  # fmt: skip
def test_a_header_of_a_wrong_type_is_named(headers):
    """Celery would trip over it, mostly with a slot of the pool in its hands."""
    finding = examine(message(**headers))

    assert repr(next(iter(headers))) in finding.fault


@pytest.mark.parametrize(
    "headers",
    [
        {"timelimit": [None, None]}, {"timelimit": None}, {"timelimit": [1.5, 2]}, {"timelimit": []},
        {"eta": "2026-01-01T00:00:00"}, {"eta": datetime.now(UTC)}, {"expires": "2026-01-01T00:00:00+00:00"},
        {"stamped_headers": None}, {"stamped_headers": ["x"], "stamps": {"x": [1]}}, {"retries": 0},
        {"shadow": None}, {"root_id": "1", "parent_id": None}, {"errbacks": ["t"]},
        {"group": UUID(int=1)}, {"group": "", "root_id": ""}, {"mine": {"anything": [1]}}, {"claimcheck": 5},
    ],
)  # fmt: skip
def test_what_celery_writes_is_sound(headers):
    """Every value that a header can have with Celery, and any header of the application's own, is none."""
    assert examine(message(**headers)) == ("", [[1], {}, {}])


@pytest.mark.parametrize(
    "body",
    ["5", "null", '"x"', "[1, 2, 3]", "[[], {}, 5]", "[[], [], {}]", "[[], {}]", '{"a": 1}',
     '[[], {}, {"errbacks": [5]}]', '[[], {}, {"chord": 1}]'],
)  # fmt: skip
def test_a_body_that_is_no_call_is_a_fault(body):
    """A body that Celery cannot unpack, or would unpack and then forget, makes no task."""
    assert examine(message(body.encode())).fault.startswith("not a task")


@pytest.mark.parametrize("body", ["[[], {}, null]", "[[], {}, []]", '{"args": [1]}'])
def test_what_other_programs_write_is_sound(body):
    """PHP writes an empty map as a list, and the first protocol has names for its parts."""
    assert examine(message(body.encode())).fault == ""


def test_the_first_protocol_is_examined_in_its_body():
    """Where the body carries the task's name and id, it carries its time limit, too."""
    call = {"task": "t", "id": "1", "args": [], "kwargs": {}}
    sound, bad = (json.dumps({**call, **more}).encode() for more in ({}, {"timelimit": 5}))

    assert examine(Message(body=sound, content_type="application/json", accept=ACCEPTED)).fault == ""
    assert "timelimit" in examine(Message(body=bad, content_type="application/json", accept=ACCEPTED)).fault


def test_types_that_are_not_accepted_are_not_decoded():
    """Kombu trusts some of them, and hands them to any codec of Python's."""
    found = examine(message(b"x", content_type="application/data"))

    assert "does not accept" in found.fault
    assert "has no header" in examine(Message(body=b"x", accept=ACCEPTED)).fault


def test_a_value_is_rejected_unread(claimcheck):
    """A body of ours that holds a value is not expanded to see that it is no call."""
    bomb = Inline(data=b"no zstd", codec="msgpack", compression="zstd", expanded_bytes=2**30)
    body = wire_form.write(Body(shape="value", payload=bomb))

    assert "single value" in examine(message(body, serializer.CONTENT_TYPE)).fault


def test_a_body_of_ours_that_cannot_be_read_is_no_fault(claimcheck):
    """It becomes a recorded failure of its task, which says why."""
    fault, call = examine(message(b"garbage", serializer.CONTENT_TYPE))

    assert fault == ""
    assert len(call) == 3


@pytest.mark.parametrize(("task_id", "text"), [(UUID(int=1), str(UUID(int=1))), (b"one", "one"), (5, "5")])
def test_ids_of_other_publishers_become_texts(task_id, text):
    """A publisher without this library may pass an id of any type; Celery runs its task."""
    headers = message(id=task_id, root_id=task_id, parent_id=None)
    call = {"task": "t", "id": task_id, "args": [], "kwargs": {}}
    first = Message(body=dumps(call).encode(), content_type="application/json", accept=ACCEPTED)

    for each in (headers, first):
        assert examine(each).fault == ""
        make_ids_texts(each)
    assert (headers.headers["id"], headers.headers["root_id"], headers.headers["parent_id"]) == (
        text,
        text,
        None,
    )
    assert first.payload["id"] == text


@pytest.mark.parametrize(
    "name", ["get", "update", "clear", "as_execution_options", "_get_custom_headers", "__init__", "_children"]
)
def test_headers_that_hide_parts_of_the_request_are_dropped(name):
    """A header named like a method of ``Task.request`` breaks no task; others are kept."""
    kept = {"items": "kept", "headers": {"mine": 1}}
    plain = message(**{name: "v"}, **kept)
    first = message(dumps({"task": "t", "id": "1", "args": [], "kwargs": {}, name: "v", **kept}).encode())
    embedded = message(dumps([[1], {}, {name: "v", **kept}]).encode())

    for each in (plain, first, embedded):
        assert examine(each).fault == ""
        drop_hiding_headers(each)
    for fields in (plain.headers, first.payload, embedded.payload[2]):
        assert name not in fields
        assert kept.items() <= fields.items()
