"""What hostile clients send to the gateway: each request has an answer that says why, and leaks nothing."""

import json
from urllib.parse import quote

import pytest
from gateway_client import CHECKSUM, KEY, MIB, announced, client_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.authentication import AuthenticationBackend, AuthenticationError

from pipeline.gateway.errors import NotFoundError
from pipeline.gateway.task_states import state_of
from pipeline.gateway.uploads import is_upload, new_key
from pipeline.stores.presigned_uploads import Part


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[" * 60_000, b'{"name":' + b"[" * 60_000, b'{"name":"\xff"}', b'{"name":"\\ud800"}',
        b"NaN", b'{"size_bytes":' + b"9" * 5_000 + b"}", b'{"size_bytes":1e400}', b"\0", b"\xef\xbb\xbf{}",
    ],
)  # fmt: skip
def test_what_is_no_request(client, bucket, body):
    """A body that is not what a request has is the client's mistake."""
    answer = client.post("/uploads", content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]
    assert bucket.asked == []


@pytest.mark.parametrize(
    "name", [".", "..", "../../x", "a/../b", "\0", "\r\nX: y", ".htaccess", "." * 255, "é"]
)
def test_no_name_leads_elsewhere(client, name):
    """Whatever the name of a file, its key is one that a door accepts: without '.', '..' or a line break."""
    key = client.post("/uploads", json=announced(name=name)).json()["key"]

    assert is_upload(key, "input")
    assert not key.rpartition("/")[2].startswith(".")
    assert key.isprintable()


@pytest.mark.parametrize("last", ["..", ".", ".x", "", "a\nb", "a" * 101])
def test_keys_that_are_not_made(last):
    """A key with another name than those that are made is none of the gateway's."""
    assert not is_upload(new_key("input", "a.csv").removesuffix("a.csv") + last, "input")


@pytest.mark.parametrize(
    "changes",
    [
        {"media_type": "text/csv\n"}, {"media_type": "text/é"}, {"media_type": "text/csv\r\nX-Y: z"},
        {"media_type": "text/csv; charset=utf-8"}, {"sha256": CHECKSUM + "\n"},
    ],
)  # fmt: skip
def test_headers_have_one_line(client, bucket, changes):
    """Type and checksum become headers of a request to S3, so they have no line breaks."""
    assert client.post("/uploads", json=announced(**changes)).status_code == 400
    assert bucket.asked == []


def test_media_types_have_no_case(client):
    """Media types are compared without regard to case."""
    assert client.post("/uploads", json=announced(media_type="Text/CSV")).status_code == 201


def test_parts_are_bounded(client, bucket):
    """A client gets URLs for so many parts as the largest file has, and no file has a small part inside."""
    part = {"key": KEY, "number": 5, "size_bytes": 10, "sha256": CHECKSUM}
    assert client.post("/uploads/u/parts", json=part).status_code == 422
    bucket.stored = [Part(1, 10, "", None), Part(2, 5 * MIB, "", None)]
    answer = client.post("/uploads/u/complete", json={"key": KEY, "size_bytes": 5 * MIB + 10})

    assert answer.status_code == 422
    assert "only the last one may be" in answer.json()["error"]
    assert bucket.asked == []


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nope", 404), ("PATCH", "/uploads", 405)])
def test_other_requests(client, method, path, status):
    """What cannot be requested is answered in JSON, too."""
    answer = client.request(method, path)

    assert answer.status_code == status
    assert list(answer.json()) == ["error"]


def test_answers_are_not_kept(client):
    """An answer may have a URL or a result, so no cache keeps it, and no browser guesses its type."""
    headers = client.post("/uploads", json=announced()).headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


class Strict(AuthenticationBackend):
    """A backend of an application that says more than a client should see."""

    async def authenticate(self, conn):
        """Reject every request."""
        raise AuthenticationError("user ada is locked")


def broken(task_id):
    raise OSError("redis://secret@host does not answer")


def test_errors_leak_nothing(bucket, caplog):
    """What a result backend or an authentication backend raises is in the log, and not in the answer."""
    denied = client_of(bucket, broken, Strict()).get("/tasks/1")
    unavailable = client_of(bucket, broken).get("/tasks/1")

    assert (denied.status_code, denied.json()) == (401, {"error": "no valid credentials"})
    assert (unavailable.status_code, unavailable.json()["error"]) == (
        503,
        "it cannot be done now; try again later",
    )
    assert "gateway cannot answer" in caplog.text


@pytest.mark.parametrize("task_id", ["\0", "a\nb", "é", "a b", "x" * 256, ""])
def test_ids_of_tasks(task_id):
    """An id that no task of this library has never reaches the result backend."""
    with pytest.raises(NotFoundError):
        state_of(None, task_id)


SEGMENTS = st.sampled_from(
    ["uploads", "claims", "tasks", "url", "parts", "complete", KEY, "..", "%2e%2e", ""]
)
FIELDS = st.sampled_from(["key", "name", "number", "size_bytes", "sha256", "media_type"])
VALUES = st.none() | st.integers() | st.floats() | st.text() | st.sampled_from([KEY, CHECKSUM, "text/csv"])
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


@settings(
    max_examples=2 * settings.default.max_examples,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]),
    path=st.lists(SEGMENTS | TEXTS, max_size=5),
    body=st.binary() | st.dictionaries(FIELDS, VALUES).map(lambda found: json.dumps(found).encode()),
    query=TEXTS,
)
def test_no_request_is_an_error_of_the_server(client, method, path, body, query):
    """Whatever a client sends, it is done, or it is the client's mistake."""
    url = "http://testserver/" + quote("/".join(path), safe="/%")
    answer = client.request(method, url, content=body, params={"key": query})

    assert answer.status_code < 500
