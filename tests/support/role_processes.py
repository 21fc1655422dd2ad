"""What each role of ``deploy/roles.yaml`` does, as a program: ``python role_processes.py producer``.

The worker is Celery's, on ``deployed_app``; the gateway and the sweeper are commands of their own.
"""

import sys
from contextlib import suppress
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "apps"))

from botocore.exceptions import ClientError
from deployed_app import LARGE, again, app, large, once, parts, sends

from pipeline.results import forget
from settings import QUEUES

FINISH_SECONDS = 60


def producer():
    """Send tasks of every kind to every queue, read their results, and put handles."""
    kinds = (large, sends, again, once)
    results = [kind.apply_async((LARGE,), queue=queue) for kind in kinds for queue in QUEUES]
    for result in results:
        result.get(timeout=FINISH_SECONDS)
        forget(result)
    parts()


def rejected():
    """Send a task that SQS rejects."""
    with suppress(ClientError):
        large.delay(LARGE)


def monitor():
    """Ask workers, revoke a task, and listen to an event."""
    assert app.control.ping(timeout=20, limit=1)
    app.control.revoke("00000000-0000-0000-0000-000000000000")
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": lambda _: None})
        receiver.capture(limit=1, timeout=30)


if __name__ == "__main__":
    {"producer": producer, "rejected": rejected, "monitor": monitor}[sys.argv[1]]()
