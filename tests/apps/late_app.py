"""A task that is retried, and a result backend that stores the RETRY of an attempt that ran twice too late.

``celery -A late_app`` runs it; its ``result_backend`` begins with ``late_app.LateBackend+file://``.
"""

import os
import time
from pathlib import Path

from celery.backends.filesystem import FilesystemBackend
from celery.states import RETRY, SUCCESS
from sample_app import NOTES, app, note, task

__all__ = ["LateBackend", "app"]


class LateBackend(FilesystemBackend):
    """Holds the second RETRY of a task, after Celery has looked for a SUCCESS, until one is stored."""

    def _set_with_state(self, key, value, state):
        if state == RETRY and not self._is_first(key):
            while SUCCESS.encode() not in (self.get(key) or b""):
                time.sleep(0.01)
        super()._set_with_state(key, value, state)

    def _is_first(self, key):
        try:
            Path(f"{self._filename(key).decode()}.retried").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


@task(bind=True)
def retry_one_by_one(self, value):
    """Retry once; of an attempt that runs twice, the second one much later than the first."""
    mine = f"attempt {self.request.retries} {os.getpid()}"
    note(mine)
    if self.request.retries:
        return len(value)
    raise self.retry(countdown=5 * NOTES.read_text().splitlines().index(mine))
