"""The sample app with the task behind its doors; see ``sample_settings``."""

from celery.exceptions import Reject
from sample_app import NOTES, app, note, task

from pipeline import Handle

__all__ = ["app"]


@task(bind=True, max_retries=1)
def open_door(self, what, about=None):
    """Note what a door has found: a text itself, or an object by its key."""
    text = what if isinstance(what, str) else what.load().decode()
    note(f"{getattr(what, 'key', '')} {text[:20]} {len(text)} {self.request.retries}")
    if text.startswith("again") and not self.request.retries:
        raise self.retry(countdown=0)
    return {"about": about, "length": len(text)}


@task(bind=True, max_retries=1)
def receive(self, value, **about):
    """Note an event: what it is, what it carries, and what was said about it."""
    if isinstance(value, Handle):
        value = {"name": value.name, "text": value.load().decode()}
    said = " ".join(f"{name}={each}" for name, each in about.items())
    note(f"{value['name']} {len(value.get('text', ''))} {self.request.retries} {said}")
    if value.get("again") and not self.request.retries:
        raise self.retry(countdown=0)


@task()
def fixed_later(group, number):
    """Note begin and end; every third one fails until somebody notes that it is fixed."""
    group = group.strip()
    note(f"begun {group} {number}")
    if int(number) % 3 == 1 and "fixed" not in NOTES.read_text():
        raise Reject("not fixed yet", requeue=False)
    note(f"ended {group} {number}")


@task(bind=True, max_retries=1)
def run_twice(self, word):
    """Note the message group, and retry once."""
    note(f"{self.request.properties['MessageGroupId']} {word} {self.request.retries}")
    if not self.request.retries:
        raise self.retry(countdown=0)
