"""The sample app with tasks that end a process, or do not end."""

import builtins
import time
from contextlib import suppress

from sample_app import app, note, task

__all__ = ["app"]


@task()
def raised(kind):
    """Raise an error of Python's own by its name."""
    raise getattr(builtins, kind)("as requested")


@task(time_limit=1, soft_time_limit=None)
def stubborn(value):
    """Catch whatever ends it once."""
    with suppress(BaseException):
        time.sleep(20)
    note("ended once")
    time.sleep(20)
