"""The Celery app that integration tests run real workers of: configured by its environment alone.

Tasks do what a test needs to see and nothing else.
"""

import hashlib
import os
import time
from functools import partial
from pathlib import Path

from celery import Task, group
from celery.exceptions import Ignore, Reject
from fingerprints import fingerprint
from sample_settings import configured_app

from pipeline import put

app = configured_app()
task = partial(app.task, shared=False)  # tests make this app many times in one process
NOTES = Path(os.environ["SHOP_NOTES"])


def note(text):
    """Append a line that the test can read: which task ran where."""
    with NOTES.open("a") as file:
        file.write(f"{text}\n")


@task()
def digest(*args, **kwargs):
    return fingerprint([args, kwargs])


@task()
def digest_bytes(content):
    return [len(content), hashlib.sha256(content).hexdigest()]


@task()
def echo(value):
    return value


@task()
def add(*numbers):
    return sum(numbers)


@task()
def total(numbers):
    return sum(numbers)


@task()
def weighed(*args, **kwargs):
    return len(args) + len(kwargs)


@task()
def double(number):
    return 2 * number


@task()
def fail(value):
    raise ValueError("this task always fails")


@task()
def errback(request, exc, traceback):
    note(f"errback {request.id} {type(exc).__name__}")


@task()
def old_errback(task_id, padding):
    note(f"errback {len(padding)} {task_id}")


@task(bind=True, max_retries=3, default_retry_delay=1)
def retry_twice(self, value, **kwargs):
    note(f"attempt {self.request.retries} {len(value)}")
    if self.request.retries < 2:
        raise self.retry()
    return len(value)


@task(bind=True, max_retries=1, default_retry_delay=1)
def retry_forever(self, value):
    raise self.retry()


@task(bind=True, default_retry_delay=1)
def retry_with(self, rows, how):
    """Retry once, with arguments that differ: changed in place, or given."""
    note(f"attempt {self.request.retries} {len(rows)}")
    if self.request.retries:
        return len(rows)
    if how == "in place":
        rows.append(rows[0])
        raise self.retry()
    raise self.retry(args=[[*rows, rows[0]], how])


@task(bind=True, default_retry_delay=0)
def retry_grouped(self, value):
    note(f"attempt {self.request.retries} {self.request.properties.get('MessageGroupId')}")
    if not self.request.retries:
        raise self.retry()
    return len(value)


@task(bind=True, default_retry_delay=1)
def retry_and(self, value, then, countdown=1):
    """Publish a retry, and end in another way than a retry does."""
    note(f"attempt {self.request.retries} {len(value)}")
    if self.request.retries or (then == "die" and len(NOTES.read_text().splitlines()) > 1):
        return f"retried {len(value)}"
    for _ in range(2 if then == "retry" else 1):
        self.retry(throw=False, countdown=countdown)
    if then == "die":
        os.kill(os.getpid(), 9)
    if then == "fail":
        raise ValueError("went on, and failed")
    return f"went on {len(value)}"


@task(bind=True, acks_late=False, default_retry_delay=1)
def retry_early(self, value, *, dies=False):
    """Retry once, with a message that was acknowledged before the run."""
    note(f"attempt {self.request.retries} {len(value)}")
    if self.request.retries:
        return len(value)
    if dies:
        self.retry(throw=False)
        os.kill(os.getpid(), 9)
    raise self.retry()


@task(bind=True, default_retry_delay=0)
def retry_elsewhere(self, value, **where):
    """Retry once, to a given place."""
    note(f"attempt {self.request.retries} {self.request.delivery_info['routing_key']}")
    if not self.request.retries:
        declare = [
            app.amqp.queues[f"{app.conf.task_default_queue}-news"]
        ]  # SQS does not report that another process declared it
        raise self.retry(**where, declare=declare)
    return len(value)


@task(bind=True)
def again(self, value):
    """Publish this very task under its own id, but not as a retry."""
    note(f"run {len(value)}")
    if len(NOTES.read_text().splitlines()) == 1:
        self.apply_async(self.request.args, task_id=self.request.id)
    return len(value)


@task(bind=True)
def pass_on(self, value):
    """Publish this very task's own arguments to another one."""
    return digest.apply_async(self.request.args, self.request.kwargs).id


@task(bind=True)
def replaced(self, value):
    raise self.replace(group(add.s(value, 1), add.s(value, 2)) | total.s())


@task()
def ignored(value):
    raise Ignore


@task()
def rejected(value):
    raise Reject("not today", requeue=False)


@task(acks_late=False)
def early(value):
    note("early ran")
    return len(value)


@task(time_limit=1, soft_time_limit=None)
def overtime(value):
    time.sleep(20)


@task()
def nap(value, seconds):
    note("napping")
    time.sleep(seconds)
    return len(value)


@task(bind=True)
def ordered(self, group, number):
    """Note begin and end; every tenth is rejected once, for SQS to show it again."""
    note(f"begun {group} {number}")
    time.sleep(0.02)
    if number % 10 == 5 and not self.request.delivery_info["redelivered"]:
        raise Reject("again", requeue=True)
    note(f"ended {group} {number}")


@task(bind=True, max_retries=1)
def retried_in_order(self, group, number):
    """Note begin and end; the second one is retried once."""
    note(f"begun {group} {number}")
    if number == 1 and not self.request.retries:
        raise self.retry(countdown=0)
    note(f"ended {group} {number}")


@task()
def hold(value):
    note("holding")
    while "go on" not in NOTES.read_text():
        time.sleep(0.1)
    return len(value)


@task(bind=True, default_retry_delay=1)
def suicide(self, value):
    note("dying")
    if not self.request.delivery_info["redelivered"] and NOTES.read_text().count("dying") < 2:
        os.kill(os.getpid(), 9)
    return len(value)


@task()
def exit_process(value):
    note("exiting")
    os._exit(1)


class Strict(Task):
    """A base class of the application's own, that looks at arguments before the task runs."""

    def before_start(self, task_id, args, kwargs):
        note(f"before_start {len(args)} {sorted(kwargs)}")

    def on_success(self, retval, task_id, args, kwargs):
        note(f"on_success {len(args)}")

    def __call__(self, *args, **kwargs):
        note(f"call {len(args)}")
        return super().__call__(*args, **kwargs)


@task(base=Strict)
def strict(*args, **kwargs):
    return [len(args), sorted(kwargs)]


class Tidy(Task):
    """A base class that takes what is not the task's out of its arguments, as tracers do."""

    def before_start(self, task_id, args, kwargs):
        note(f"trace {kwargs.pop('_trace', None)}")
        kwargs["tidy"] = True

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note(f"{status} {len(args.copy())} {kwargs | {}}")


@task(base=Tidy, bind=True, default_retry_delay=0)
def tidied(self, rows, *, times=0, **kwargs):
    """Retry so many times, and return what was left of the keywords."""
    if self.request.retries < times:
        raise self.retry()
    return kwargs


@task(bind=True, default_retry_delay=0)
def ordeal(self, content, number, end):
    """Run once, if nothing goes wrong; end as requested."""
    note(f"ordeal {number} {self.request.retries} {os.getpid()}")
    if end == "fail":
        raise ValueError("as requested")
    if end == "retry" and not self.request.retries:
        raise self.retry()
    return [number, hashlib.sha256(content).hexdigest()]


if "SHOP_MENDED" in os.environ:

    @task()
    def mended(value):
        note("mended")


@task()
def turned(handle, nested):
    assert nested == {"in": [handle]}
    return put(handle.load()[::-1], name=handle.name, ttl_days=1)
