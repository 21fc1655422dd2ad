"""Uploads the demo's files, and collects what became of each."""

import urllib.error
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from tasks.demo.doors.client import Client
from tasks.demo.doors.files import File


@dataclass(slots=True)
class Uploaded:
    """A file, and what became of it."""

    file: File
    key: str | None = None
    parts_count: int = 0
    upload_seconds: float = 0.0
    task_seconds: float = 0.0
    """From the end of the upload to the end of the task."""
    outcome: str = ""
    """State of its task, or the status with which the gateway rejected it."""
    task: dict[str, Any] = field(default_factory=dict)
    is_read_back: bool = False
    """Whether the presigned URL has returned the same bytes."""

    @property
    def is_as_expected(self) -> bool:
        """Whether its task ended as it should, with the right totals."""
        totals = (self.task.get("result") or {}).get("totals")
        return self.outcome == self.file.expected and totals == self.file.totals

    @property
    def result(self) -> str:
        """What the task has returned, in a few words."""
        found = self.task.get("result")
        return f"{found['rows']} rows" if found else self.task.get("error", "")


def upload(client: Client, file: File) -> Uploaded:
    """Upload a file and wait for its task; read it back, and delete it."""
    done, begun = Uploaded(file), monotonic()
    try:
        answer = client.upload(file.name, file.media_type, file.content)
    except urllib.error.HTTPError as exc:
        done.outcome = str(exc.code)
        exc.close()
        return done
    done.key, done.parts_count = answer["key"], answer["parts_count"]
    done.upload_seconds = monotonic() - begun
    begun = monotonic()
    done.task = client.wait(answer["task_id"])
    done.task_seconds, done.outcome = monotonic() - begun, done.task["state"]
    done.is_read_back = client.read(answer["key"]) == file.content
    client.delete(answer["key"])
    return done


def upload_all(client: Client, files: list[File], advance: Callable[[], None]) -> list[Uploaded]:
    """Upload one file after the other."""
    done = []
    for file in files:
        done.append(upload(client, file))
        advance()
    return done
