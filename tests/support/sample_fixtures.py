"""The sample's app as a producer in this process, and in real workers beside it; fixtures for all tests."""

import gc
import importlib
import json
import os
import sys
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import pytest
import workers
from celery._state import _set_current_app
from kombu import pools
from standins import AWS, environment

from pipeline import uninstall
from pipeline.serializer import serializer


class Sample:
    """The sample's app as a producer in this process, with the environment that its workers get."""

    def __init__(self, module, environment, tmp_path, stack):
        self.module = module
        self.app = module.app
        self.environment = environment
        self._tmp_path = tmp_path
        self._stack = stack

    def __getattr__(self, name):
        return getattr(self.module, name)

    @property
    def queue(self):
        """The name of the queue that tasks go to."""
        return self.app.conf.task_default_queue

    def worker(self, **options):
        """Start a worker that lives as long as the test."""
        return self._stack.enter_context(workers.worker(self.environment, self._tmp_path, **options))

    def notes(self):
        """Return what tasks noted, line by line."""
        return self.module.NOTES.read_text().splitlines() if self.module.NOTES.exists() else []

    def objects(self):
        """Return the keys in the store."""
        return [stored.key for stored in serializer.installed().store.list()]

    def payloads(self):
        """Return the keys in the store but those of revocations, which stay."""
        return [key for key in self.objects() if "revoked/v1/" not in key]

    def eventually_empty(self, seconds=30):
        """Wait until the store holds no payload."""
        workers.eventually(lambda: not self.payloads(), seconds, f"left in the store: {self.payloads()}")

    def clear(self):
        """Forget what earlier tests left: notes and objects."""
        self.module.NOTES.unlink(missing_ok=True)
        serializer.installed().store.delete(self.objects())


@contextmanager
def open_samples(tmp_path):
    """Make samples one after another: each is forgotten with the ``with`` block."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environment:

        def make(broker="sqs://", store=None, options=None, conf=None, *, metrics=False):
            results = tmp_path / "results"
            results.mkdir(exist_ok=True)
            environment.setenv("SHOP_BROKER", broker)
            environment.setenv("SHOP_BACKEND", f"file://{results}")
            environment.setenv("SHOP_QUEUE", f"shop-{uuid4().hex[:8]}")
            environment.setenv("SHOP_NOTES", str(tmp_path / "notes"))
            environment.setenv("SHOP_CONF", json.dumps(conf or {}))
            environment.setenv("SHOP_OPTIONS", json.dumps(options or {}))
            if store:
                environment.setenv("SHOP_STORE", store)
            if metrics:
                environment.setenv("SHOP_METRICS", "cloudwatch")
            sys.modules.pop("sample_app", None)
            module = importlib.import_module("sample_app")
            stack.callback(_forget, module)
            return Sample(module, os.environ.copy(), tmp_path, stack)

        yield make


@contextmanager
def imported(name):
    """Import a module of tasks anew, for the app that was made last, and forget it afterwards."""
    sys.modules.pop(name, None)
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


@contextmanager
def standing_sample(server, tmp_path, pool, variables=(), queues=(), module="sample_app", **options):
    """Open a sample on a stand-in for AWS, with a worker, for many tests; variables are the environment's.

    The worker also consumes queues whose names begin with that of the sample's own.
    """
    with pytest.MonkeyPatch.context() as patch, open_samples(tmp_path) as make:
        aws = entered(server, patch)
        for name, value in variables:
            patch.setenv(name, value)
        sample = make(store=f"s3://{aws.bucket()}/claims", **options)
        sample.aws = aws
        consumed = ",".join([sample.queue, *(f"{sample.queue}-{each}" for each in queues)])
        sample.running = sample.worker(pool=pool, app=module, options=("-Q", consumed))
        yield sample


def cleared(sample, server, monkeypatch):
    """Return a sample that stands for many tests, without what earlier tests left."""
    entered(server, monkeypatch, empty=False)
    sample.clear()
    return sample


def entered(server, monkeypatch, *, empty=True):
    """Point the environment at a stand-in, emptied first."""
    if empty:
        server.reset()
    for name, value in environment(server.url).items():
        monkeypatch.setenv(name, value)
    return AWS(server.name, server.url)


@pytest.fixture
def sample_of(tmp_path, proxy_to):
    """Make a sample: ``sample_of(broker=…, store=…, options={…}, conf={…}, metrics=…)``.

    Proxies outlive its workers, which clean up when they end.
    """
    with open_samples(tmp_path) as make:
        yield make


def _forget(module):
    if serializer.is_installed():
        serializer.installed().recorder.close()
    uninstall()
    module.app.close()
    pools.reset()  # Kombu shares them between apps with the same broker
    _set_current_app(None)
    sys.modules.pop("sample_app", None)
    gc.collect()


@pytest.fixture
def sample(sample_of, moto_aws):
    """A sample on SQS and S3 where every argument goes through the store."""
    return sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
