"""Tasks that must not run twice: ``celery -A idempotent_app`` runs them beside those of the sample app."""

import os
import random
import time
from uuid import uuid4

from celery import Task
from sample_app import NOTES, app, note, task

from pipeline import idempotent

__all__ = ["app"]


def noted(text):
    """Note a line, and return how often it has been noted."""
    note(text)
    return NOTES.read_text().splitlines().count(text)


@task()
@idempotent
def charge(order, seconds=0):
    note("charged")
    time.sleep(seconds)
    return uuid4().hex


@task(acks_late=False)
@idempotent(key="order")
def charge_early(order):
    note("charged")
    while "go on" not in NOTES.read_text():
        time.sleep(0.1)
    return uuid4().hex


@task()
@idempotent
def big(size_bytes):
    note("made")
    return random.randbytes(size_bytes)


@task()
@idempotent
def fail_once(order):
    if noted("tried") == 1:
        raise ValueError("the first attempt fails")
    return uuid4().hex


@task(bind=True, default_retry_delay=0)
@idempotent
def retry_at_once(self, order):
    note(f"attempt {self.request.retries}")
    if self.request.retries < 2:
        raise self.retry()
    return uuid4().hex


@task(autoretry_for=(Exception,), retry_kwargs={"countdown": 0})
@idempotent
def auto(seconds):
    if noted("auto") == 1:
        raise ValueError("the first attempt fails")
    time.sleep(seconds)
    return uuid4().hex


@task()
@idempotent(key="order_id")
def refund(amount, order_id="none"):
    note(f"refunded {amount}")
    return [amount, uuid4().hex]


@task(bind=True)
@idempotent(key=lambda order, **_: [order["sample_app"], order["id"]])
def ship(self, order, speed=1):
    note(f"shipped by {self.name} at {speed}")
    return uuid4().hex


@task()
@idempotent(in_progress_seconds=3)
def killed(order):
    if noted("dying") == 1:
        os.kill(os.getpid(), 9)
    return uuid4().hex


class DiesAfterwards(Task):
    """Dies between the effect and the acknowledgement, the first time."""

    def on_success(self, retval, task_id, args, kwargs):
        if noted("afterwards") == 1:
            os.kill(os.getpid(), 9)


@task(base=DiesAfterwards, ignore_result=True)
@idempotent
def dies_afterwards(order):
    note("charged")


@task(resultrepr_maxsize=100)
@idempotent(in_progress_seconds=1)
def overrun(seconds):
    number = noted("begun")
    time.sleep(seconds if number == 1 else 0)
    note("ended")
    return f"run {number}"


@task()
def outer(order):
    """Call an idempotent task as a function, twice."""
    return [charge(order), charge(order)]


@task()
@idempotent
def unencodable(order):
    return 1j
