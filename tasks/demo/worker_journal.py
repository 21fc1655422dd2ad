"""Journal of the demo's workers: a JSON line when a worker is ready, and one for each run of a task.

Workers load this module with ``celery worker --include tasks.demo.worker_journal``. Pool children inherit the
handler by fork, and every line is one write to a file opened for appending, so all share one file.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any

from celery import signals

PATH_VARIABLE = "DEMO_JOURNAL"
"""Environment variable with the path of the file."""
READY = "worker ready"
RAN = "task ran"
"""Keep in sync with ``pipeline.worker.signals``."""

_LOGGERS = (__name__, "pipeline.worker.signals")
_STANDARD = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}

logger = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """Writes a record's message and its ``extra``, and nothing else."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        return json.dumps({"message": record.getMessage(), **extra}, default=str)


@signals.after_setup_logger.connect
def start(**_: Any) -> None:
    """Write to the file from now on."""
    handler = logging.FileHandler(os.environ[PATH_VARIABLE], encoding="utf-8")
    handler.setFormatter(JsonLines())
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)


@signals.worker_ready.connect
def note_ready(sender: Any, **_: Any) -> None:
    """Write that this worker takes messages now."""
    logger.info(READY, extra={"worker": sender.hostname})


def read(path: Path, message: str) -> list[dict[str, Any]]:
    """Return the lines that begin with this message, oldest first; none while there is no file."""
    if not path.exists():
        return []
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["message"].startswith(message)]
