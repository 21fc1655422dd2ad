"""Shows that a worker's event loop runs: it touches a file, whose age a health check compares.

``celery inspect ping`` asks over the broker, and makes a queue for each answer; a file costs nothing, and is
there when the broker is not. The check needs no Python::

    test -n "$(find /tmp/alive -mmin -1)"

Add it with ``app.steps["worker"].add(Liveness)``. It is off unless the variable WORKER_ALIVE_FILE names the
file. The pools prefork and threads have a loop that runs beside tasks; on solo a task holds it up.
"""

import os
from pathlib import Path
from typing import Any

from celery import bootsteps

VARIABLE = "WORKER_ALIVE_FILE"
INTERVAL_SECONDS = 10.0


class Liveness(bootsteps.StartStopStep):
    """Touches the file from the timer of the worker's main process, and removes it at shutdown."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **_: Any) -> None:  # noqa: ARG002 - Celery's signature
        self._path = Path(os.environ.get(VARIABLE, ""))

    def include_if(self, worker: Any) -> bool:  # noqa: ARG002 - Celery's signature
        """Say whether a file is named."""
        return bool(os.environ.get(VARIABLE))

    def start(self, worker: Any) -> None:
        """Touch the file now, and from then on."""
        self._path.touch()
        self._touching = worker.timer.call_repeatedly(INTERVAL_SECONDS, self._path.touch)

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Remove the file: what has ended is not alive. The timer, a thread on some pools, ends later."""
        self._touching.cancel()
        self._path.unlink(missing_ok=True)
