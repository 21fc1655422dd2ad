"""The application of this repository, with tasks that use all that a worker may do."""

import os

from celery.exceptions import Reject

import pipeline
from tasks.app import app

LARGE = os.urandom(400_000)
seen = set()


@app.task(name="deployed.large")
def large(content):
    """Return a result that is offloaded as its argument was."""
    return content


@app.task(name="deployed.sends", bind=True)
def sends(self, content):
    """Send another task, put a handle in parts, and give up another in the middle."""
    large.apply_async((content,), queue=self.request.delivery_info["routing_key"])
    parts()


@app.task(name="deployed.again", bind=True)
def again(self, content):
    """Ask SQS for the same message once more."""
    if self.request.id not in seen:
        seen.add(self.request.id)
        raise Reject(requeue=True)


@app.task(name="deployed.once")
@pipeline.idempotent
def once(content):
    """Run once for each of its arguments."""


def parts():
    """Put 20 MiB in parts, and give up others in the middle."""
    handle = pipeline.put(iter([bytes(10 * 1024**2)] * 2))
    try:
        pipeline.put(_broken())
    except ArithmeticError:
        handle.delete()


def _broken():
    yield bytes(20 * 1024**2)
    raise ArithmeticError
