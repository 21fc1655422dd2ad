"""Tasks that slowly end by their hard time limit: ``celery -A overtime_app`` runs them."""

import time

from celery import Task
from sample_app import app, note, task

__all__ = ["app"]


class Curious(Task):
    """A base class that is slow to report a failure, and reads the arguments then."""

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        time.sleep(2)
        note(f"failed {len(args[0])}")


@task(base=Curious, time_limit=1, acks_late=False)
def hang(value):
    time.sleep(60)


@task(base=Curious, time_limit=2, bind=True)
def retry_late(self, value):
    """Retry when the time is up, while the main process reports that."""
    note(f"attempt {self.request.retries} {len(value)}")
    if not self.request.retries:
        time.sleep(3)
        self.retry(throw=False, countdown=1)
        time.sleep(60)
