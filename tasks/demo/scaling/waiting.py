"""The task of the demo: it waits, as for another service, so more workers help where cores are few."""

from time import sleep

from celery import shared_task

SECONDS = 0.7


@shared_task(name="demo.wait", ignore_result=True)
def wait(argument: bytes) -> int:
    """Wait, and return the size of the argument in bytes."""
    sleep(SECONDS)
    return len(argument)
