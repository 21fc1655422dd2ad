"""What of a Celery app and of this process the claim check changes."""

import gc
import logging

from celery import signals
from celery.utils.dispatch import Signal
from celery.worker.consumer import consumer

from pipeline.serializer import serializer


def state(app):
    """Return all of it, to be compared."""
    gc.collect()  # signals also count receivers that only a cycle of an earlier test keeps
    parts = {name: repr(vars(app).get(name)) for name in ("amqp_cls", "control_cls", "backend_cls")}
    tasks = {name: (it.serializer, it.Request, it.resultrepr_maxsize) for name, it in app.tasks.items()}
    listening = {
        name: len(list(it._live_receivers(None)))
        for name, it in vars(signals).items()
        if isinstance(it, Signal)
    }
    steps = {name: set(added) for name, added in app.steps.items() if added}
    filters = [list(logging.getLogger(name).filters) for name in ("celery.app.trace", consumer.__name__)]
    return parts, tasks, listening, steps, filters, dict(app.conf.changes), serializer.is_installed()


def cached(app):
    """Return what the app keeps of its parts, once it has made them."""
    names = ("amqp", "control", "_pool", "_backend_cache")
    return [vars(app).get(name) for name in names] + [vars(app._local).get("backend")]
