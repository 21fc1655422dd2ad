"""A client without AWS credentials: it knows the gateway's address and a token, and nothing of AWS."""

import hashlib
import json
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote

FINAL = frozenset({"SUCCESS", "FAILURE", "REVOKED"})


@dataclass(frozen=True, slots=True)
class Client:
    """Uploads files, follows their tasks, and reads them back."""

    url: str
    token: str

    def upload(self, name: str, media_type: str, content: bytes) -> dict[str, Any]:
        """Upload a file, in parts if it is large; return its key, the id of its task and the parts' count.

        Raises:
            urllib.error.HTTPError: the gateway or the bucket has rejected it.
        """
        about: dict[str, Any] = {"name": name, "media_type": media_type, "size_bytes": len(content)}
        if len(content) <= self.ask("GET", "/limits")["part_bytes"]:
            about["sha256"] = checksum(content)
        begun: dict[str, Any] = self.ask("POST", "/uploads", about)
        if "request" in begun:
            send(begun["request"], content)
            return {**begun, "parts_count": 1}
        return self._upload_parts(begun, content)

    def _upload_parts(self, begun: dict[str, Any], content: bytes) -> dict[str, Any]:
        path, key = f"/uploads/{quote(begun['upload_id'], safe='')}", begun["key"]
        for number in range(1, begun["parts_count"] + 1):
            part = content[(number - 1) * begun["part_bytes"] : number * begun["part_bytes"]]
            about = {"key": key, "number": number, "size_bytes": len(part), "sha256": checksum(part)}
            send(self.ask("POST", f"{path}/parts", about), part)
        self.ask("POST", f"{path}/complete", {"key": key, "size_bytes": len(content)})
        return begun

    def wait(self, task_id: str, timeout_seconds: float = 60) -> dict[str, Any]:
        """Return the final state of a task, or the last one before the timeout."""
        deadline = monotonic() + timeout_seconds
        while True:
            state: dict[str, Any] = self.ask("GET", f"/tasks/{task_id}")
            if state["state"] in FINAL or monotonic() > deadline:
                return state
            sleep(0.1)

    def read(self, key: str) -> bytes:
        """Return a file that was uploaded, by a presigned URL."""
        with urllib.request.urlopen(self.ask("GET", f"/claims/{quote(key)}/url")["url"]) as answer:  # noqa: S310
            content: bytes = answer.read()
        return content

    def delete(self, key: str) -> None:
        """Delete a file that was uploaded."""
        self.ask("DELETE", f"/claims/{quote(key)}")

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send one request to the gateway, and return its answer.

        Raises:
            urllib.error.HTTPError: the gateway has rejected it.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        content = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, content, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - the gateway's address
            text = answer.read()
        return json.loads(text) if text else None


def send(request: Mapping[str, Any], content: bytes) -> None:
    """Send a file or a part to the bucket, by a presigned request."""
    sent = urllib.request.Request(request["url"], content, request["headers"], method=request["method"])  # noqa: S310
    if not sent.has_header("Content-type"):
        sent.add_header("Content-Type", "")  # urllib would name a form
    with urllib.request.urlopen(sent):  # noqa: S310 - the address that the gateway has signed
        pass


def checksum(content: bytes) -> str:
    """Return the SHA-256 of a file or a part, in base64."""
    return b64encode(hashlib.sha256(content).digest()).decode()
