"""The gateway gives out URLs for what its limits allow, to authenticated clients alone."""

from urllib.parse import parse_qs, urlsplit

import pytest
from gateway_client import CHECKSUM, KEY, MIB, PAYLOAD, TOKEN, announced

from pipeline.gateway import BearerTokens, Limits
from pipeline.gateway.uploads import is_upload, new_key
from pipeline.stores.presigned_uploads import Announced, Part
from pipeline.stores.s3.store import S3Store


def test_a_small_file_gets_one_request(client, bucket):
    """A file of one part gets the request that puts it, and the id of its task."""
    answer = client.post("/uploads", json=announced())

    assert answer.status_code == 201
    begun = answer.json()
    assert is_upload(begun["key"], "input")
    assert begun["key"].endswith("/M_rz_1.csv")
    assert begun["task_id"] == f"task of {begun['key']}"
    assert begun["request"] == {
        "method": "PUT", "url": "https://bucket/object", "headers": {"Content-Type": "text/csv"}
    }  # fmt: skip
    assert bucket.asked == [("put", begun["key"], (50, CHECKSUM, "text/csv"), 900)]


def test_a_large_file_comes_in_parts(client, bucket):
    """A file of several parts gets an upload, a request for each part, and an end."""
    begun = client.post("/uploads", json=announced(size_bytes=5 * MIB + 10, sha256=None)).json()
    assert (begun["upload_id"], begun["part_bytes"], begun["parts_count"]) == ("upload-1", 5 * MIB, 2)

    part = {"key": begun["key"], "number": 2, "size_bytes": 10, "sha256": CHECKSUM}
    assert client.post("/uploads/upload-1/parts", json=part).json()["url"] == "https://bucket/part"
    done = client.post("/uploads/upload-1/complete", json={"key": begun["key"], "size_bytes": 5 * MIB + 10})
    assert done.json() == {"key": begun["key"], "task_id": begun["task_id"]}
    assert bucket.asked[-1] == ("complete", begun["key"], "upload-1", bucket.stored)
    assert client.delete("/uploads/upload-1", params={"key": begun["key"]}).status_code == 204
    assert bucket.asked[-1] == ("abort", begun["key"], "upload-1")


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"size_bytes": 20 * MIB + 1}, 422, "the limit is 20971520"),
        ({"media_type": "image/png"}, 422, "accepted are text/*"),
        ({"sha256": None}, 422, "sha256 is missing"),
        ({"sha256": "short"}, 400, "sha256"),
        ({"size_bytes": 0}, 400, "size_bytes"),
        ({"name": ""}, 400, "name"),
        ({"media_type": "text"}, 400, "media_type"),
        ({"bucket": "other"}, 400, "unknown field"),
    ],
)
def test_other_files_get_none(client, bucket, changes, status, words):
    """What the limits do not allow gets an error that says why, and nothing is asked of the bucket."""
    answer = client.post("/uploads", json=announced(**changes))

    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert bucket.asked == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/uploads", announced()),
        ("POST", "/uploads/u/parts", {}),
        ("POST", "/uploads/u/complete", {}),
        ("DELETE", "/uploads/u?key=k", None),
        ("GET", f"/claims/{KEY}/url", None),
        ("DELETE", f"/claims/{KEY}", None),
        ("GET", "/tasks/1", None),
    ],
)
@pytest.mark.parametrize("header", ["", "Bearer wrong", f"Basic {TOKEN}", "Bearer"])
def test_others_get_nothing(client, bucket, method, path, body, header):
    """Without a valid token every request that hands out something is answered with 401."""
    answer = client.request(method, path, json=body, headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert bucket.asked == []


@pytest.mark.parametrize("key", ["other/file", "input/../secret", "input/0a/2026/11/26/file", "input/v1/x"])
def test_other_keys_are_not_reached(client, bucket, key):
    """A key that this gateway has not made gets no URL, no part and no end."""
    assert client.get(f"/claims/{key}/url").status_code == 404
    assert client.delete(f"/claims/{key}").status_code == 404
    part = {"key": key, "number": 1, "size_bytes": 10, "sha256": CHECKSUM}
    assert client.post("/uploads/u/parts", json=part).status_code == 422
    assert client.post("/uploads/u/complete", json={"key": key, "size_bytes": 10}).status_code == 422
    assert client.delete("/uploads/u", params={"key": key}).status_code == 422
    assert bucket.asked == []


@pytest.mark.parametrize("key", [KEY, f"claims/handles/7d/{PAYLOAD}"])
def test_uploads_and_handles_are_readable(client, key):
    """A file that a client has uploaded, and a handle's payload, get a URL that expires."""
    link = client.get(f"/claims/{key}/url").json()

    assert urlsplit(link["url"]).path == f"/{key}"
    query = parse_qs(urlsplit(link["url"]).query)
    assert query["X-Amz-Expires"] == ["60"]
    name = key.rpartition("/")[2]
    assert query["response-content-disposition"] == [f'attachment; filename="{name}"']


@pytest.mark.parametrize("key", [f"claims/{PAYLOAD}", f"claims/results/{PAYLOAD}"])
def test_payloads_of_messages_are_not_for_clients(client, key):
    """The payload of a message or a result gets no URL."""
    assert client.get(f"/claims/{key}/url").status_code == 404


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "eu-central-1"])
def test_size_type_and_checksum_are_signed(region, monkeypatch):
    """The signature covers size, type and checksum in every region, so S3 rejects an upload with others."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    uploads = S3Store("bucket", "input", region=region).presigned_uploads()
    whole = uploads.put("input/a", Announced(5, CHECKSUM, "text/csv"), 60)
    part = uploads.put_part("input/a", "upload", 1, Announced(5, CHECKSUM), 60)

    assert _signed(whole.url) == {
        "content-length", "content-type", "host", "if-none-match", "x-amz-checksum-sha256"
    }  # fmt: skip
    assert _signed(part.url) == {"content-length", "host", "x-amz-checksum-sha256"}
    assert whole.headers == {
        "Content-Type": "text/csv", "If-None-Match": "*", "x-amz-checksum-sha256": CHECKSUM
    }  # fmt: skip
    assert repr(whole) == "Presigned('PUT')"
    host = "bucket.s3.amazonaws.com" if region == "us-east-1" else f"bucket.s3.{region}.amazonaws.com"
    assert urlsplit(whole.url).netloc == urlsplit(part.url).netloc == host


def _signed(url):
    return set(parse_qs(urlsplit(url).query)["X-Amz-SignedHeaders"][0].split(";"))


def test_a_file_larger_than_announced_is_not_completed(client, bucket):
    """Parts that do not add up to the announced size make no file; above the limit they are deleted."""
    key = new_key("input", "a.csv")
    end = {"key": key, "size_bytes": 10}
    assert client.post("/uploads/u/complete", json=end).status_code == 422
    assert bucket.asked == []
    bucket.stored = [Part(number, 5 * MIB, "", None) for number in range(1, 6)]
    assert client.post("/uploads/u/complete", json=end).status_code == 422
    assert bucket.asked == [("abort", key, "u")]


def test_a_body_is_bounded(client):
    """A request of more than 64 KiB is not read."""
    assert client.post("/uploads", content=b" " * 70_000).status_code == 413


def test_the_document_describes_each_request(client):
    """OpenAPI names each path, and each schema that it refers to."""
    document = client.get("/openapi.json", headers={"Authorization": ""}).json()

    assert set(document["paths"]) == {
        "/limits", "/uploads", "/uploads/{upload_id}/parts", "/uploads/{upload_id}/complete",
        "/uploads/{upload_id}", "/claims/{key}/url", "/claims/{key}", "/tasks/{task_id}", "/health",
    }  # fmt: skip
    assert document["paths"]["/uploads"]["post"]["security"] == [{"bearer": []}]
    assert {"NewUpload", "Upload", "Problem"} <= set(document["components"]["schemas"])


@pytest.mark.parametrize("path", ["/", "/docs", "/static/page.js", "/static/page.css", "/health", "/limits"])
def test_pages_are_public(client, path):
    """Pages and what they load need no token."""
    assert client.get(path, headers={"Authorization": ""}).status_code == 200


@pytest.mark.parametrize("tokens", [{}, {"short": "ada"}])
def test_weak_tokens_are_rejected(tokens):
    """A gateway without tokens, or with short ones, does not start."""
    with pytest.raises(ValueError, match="at least 16 characters"):
        BearerTokens(tokens)


@pytest.mark.parametrize(
    "limits",
    [
        {"size_bytes": 0},
        {"part_bytes": 1},
        {"expires_seconds": 0},
        {"expires_seconds": 604_801},
        {"media_types": "a"},
    ],
)
def test_wrong_limits_are_rejected(limits):
    """A limit out of range is a ValueError that names it."""
    with pytest.raises(ValueError, match=next(iter(limits))):
        Limits(**limits)
