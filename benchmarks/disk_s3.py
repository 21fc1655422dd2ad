"""A stand-in for S3 that keeps objects on disk, and so takes 5 GB: moto and ministack hold them in memory.

It knows the requests of handles alone, and checks nothing: ``python -m benchmarks.disk_s3 FOLDER PORT``.
"""

import os
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from pipeline.claimcheck.handles.streams import PART_BYTES

READ_BYTES = 1024**2
ETAG = '"0123456789abcdef0123456789abcdef"'
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class S3(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def do_PUT(self) -> None:
        """PutObject and UploadPart: all parts but the last have the size of a handle's."""
        upload = self._query("uploadId")
        path = self._path() if upload is None else self._upload(upload)
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT), "wb") as file:
            file.seek((int(self._query("partNumber", "1")) - 1) * PART_BYTES)
            self._copy(file)
        self._answer(200, {"ETag": ETAG})

    def do_POST(self) -> None:
        """CreateMultipartUpload, CompleteMultipartUpload and DeleteObjects."""
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        upload = self._query("uploadId")
        if upload is not None:
            self._path().parent.mkdir(parents=True, exist_ok=True)
            self._upload(upload).replace(self._path())
            self._answer(200, body=f"<Result><ETag>{ETAG}</ETag></Result>")
        elif "delete" in self._queries():
            for key in re.findall("<Key>(.*?)</Key>", sent):
                (self._path() / key).unlink(missing_ok=True)
            self._answer(200, body="<DeleteResult/>")
        else:
            self._answer(200, body=f"<Result><UploadId>{uuid4().hex}</UploadId></Result>")

    def do_GET(self) -> None:
        """GetObject, of a range or whole."""
        path = self._path()
        if not path.is_file():
            self._answer(404, body="<Error><Code>NoSuchKey</Code></Error>")
            return
        size_bytes, asked = path.stat().st_size, _RANGE.match(self.headers.get("Range") or "")
        start, stop = (int(asked[1]), int(asked[2]) + 1) if asked else (0, size_bytes)
        headers = {"ETag": ETAG, "Content-Length": str(stop - start)}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size_bytes}"
        self._answer(206 if asked else 200, headers)
        with path.open("rb") as file:
            self.connection.sendfile(file, start, stop - start)

    def do_HEAD(self) -> None:
        """HeadObject."""
        headers = {"Content-Length": str(self._path().stat().st_size), "ETag": ETAG}
        self._answer(200, {**headers, "Last-Modified": self.date_time_string()})

    def _copy(self, file: BinaryIO) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= file.write(self.rfile.read(min(left, READ_BYTES)))

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: str = "") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def _path(self) -> Path:
        return self.folder / urlsplit(self.path).path.strip("/")

    def _upload(self, upload: str) -> Path:
        return self.folder / ".uploads" / upload

    def _queries(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    def _query(self, name: str, default: Any = None) -> Any:
        return self._queries().get(name, [default])[0]

    def log_message(self, *_: object) -> None:
        """Write nothing."""


if __name__ == "__main__":
    S3.folder = Path(sys.argv[1])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), S3).serve_forever()
