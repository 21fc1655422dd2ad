"""Uploads by presigned URLs, at a stand-in for S3: what it takes, and what becomes of the rest."""

import hashlib
import urllib.request
from base64 import b64encode
from threading import Thread
from urllib.error import HTTPError

import pytest
from sample_fixtures import entered

from pipeline.errors import PayloadMissingError
from pipeline.stores.presigned_uploads import Announced
from pipeline.stores.s3.store import S3Store

pytestmark = pytest.mark.aws

MIB = 1024**2
KEY = "input/0a/2026/11/26/" + "0" * 40 + "/a.csv"


@pytest.fixture
def store(ministack, monkeypatch):
    """A store on ministack: moto checks no checksums."""
    return S3Store(entered(ministack, monkeypatch).bucket(), "input")


def checksum(content):
    return b64encode(hashlib.sha256(content).digest()).decode()


def send(presigned, content):
    """Send a presigned request, and return the status of the answer."""
    headers = {"Content-Type": "", **presigned.headers}  # urllib would name a form
    request = urllib.request.Request(presigned.url, content, headers, method=presigned.method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except HTTPError as exc:
        return exc.code


def test_an_upload_is_for_one_content(store):
    """Content with another checksum is rejected, and what is there is not overwritten by a second upload."""
    presigned = store.presigned_uploads().put(KEY, Announced(7, checksum(b"content"), "text/csv"), 60)
    statuses = [send(presigned, each) for each in (b"another", b"content", b"content")]

    assert statuses == [400, 200, 412]
    assert store.get(KEY, 7) == b"content"


def parts_of(uploads, upload, *contents):
    for number, content in enumerate(contents, 1):
        presigned = uploads.put_part(KEY, upload, number, Announced(len(content), checksum(content)), 60)
        assert send(presigned, content) == 200


def test_an_upload_in_parts_ends_once(store):
    """Two requests that complete an upload at the same time make one object; later ones find no upload."""
    uploads = store.presigned_uploads()
    upload = uploads.begin(KEY, "text/csv")
    parts_of(uploads, upload, b"x" * 5 * MIB, b"rest")
    found, ends = uploads.parts(KEY, upload), []

    def complete():
        try:
            ends.append(uploads.complete(KEY, upload, found))
        except PayloadMissingError as exc:
            ends.append(type(exc))

    threads = [Thread(target=complete) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert ends.count(None) >= 1
    assert store.get(KEY, 5 * MIB + 4)[-4:] == b"rest"
    with pytest.raises(PayloadMissingError):
        uploads.parts(KEY, upload)


def test_an_upload_that_is_given_up_leaves_nothing(store):
    """What was aborted is gone, can be aborted again, and takes no more parts."""
    uploads = store.presigned_uploads()
    upload = uploads.begin(KEY, "text/csv")
    parts_of(uploads, upload, b"part")
    uploads.abort(KEY, upload)
    uploads.abort(KEY, upload)
    late = uploads.put_part(KEY, upload, 2, Announced(4, checksum(b"part")), 60)

    assert send(late, b"part") == 404
    with pytest.raises(PayloadMissingError):
        uploads.parts(KEY, upload)
    with pytest.raises(PayloadMissingError):
        store.get(KEY, 4)


def test_a_part_is_for_one_content(store):
    """A part with another checksum is rejected."""
    uploads = store.presigned_uploads()
    upload = uploads.begin(KEY, "text/csv")
    presigned = uploads.put_part(KEY, upload, 1, Announced(4, checksum(b"part")), 60)

    assert send(presigned, b"trap") == 400
    assert uploads.parts(KEY, upload) == []
