"""What all tests share: a clean environment, and servers that stand in for AWS, Redis and RabbitMQ.

A server that is not installed skips its tests here, and fails them where CI is set.
"""

import gc
import logging
import os
import signal
from contextlib import ExitStack

import pytest
from celery._state import _set_task_join_will_block
from forked_programs import ForkedPrograms
from hypothesis import settings
from idempotent_fixtures import idempotent_sample_of  # noqa: F401 - a fixture
from lambda_fixtures import source_of  # noqa: F401 - a fixture
from rabbitmq import RabbitMQ
from sample_fixtures import entered, sample, sample_of  # noqa: F401 - fixtures among them
from standins import Ministack, Moto, Redis, running

from benchmarks.proxy import Proxy
from pipeline.local import ISOLATION

OURS = ("AWS_", "CELERY_", "CLAIMCHECK_")
"""Variables that a developer may have set, and no test may see."""

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("chaos", deadline=None, max_examples=10_000)
settings.load_profile("ci" if os.environ.get("CI") else "here")


FIRST = {
    *("test_celery_suite", "test_idempotency", "test_interruptions", "test_transport_workers"),
    *("test_monitoring", "test_big", "test_brokers", "test_outage", "test_tracing"),
    *("test_transport_shutdown", "test_poison", "test_chaos", "test_receiving"),
    "test_empty_environment",
}
"""The files that take longest: a run that ends with one of them waits for it alone."""


def pytest_configure():
    """Let Ctrl-C work in all that tests start: a shell that runs them in the background ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # after pytest-randomly
def pytest_collection_modifyitems(items):
    """Run the longest files first."""
    items.sort(key=lambda item: item.path.stem not in FIRST)


def pytest_collection_finish():
    """Let the garbage collector, which tests call to find open sockets, leave alone what was imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Hide the developer's own settings and real AWS."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    for name, value in ISOLATION.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def no_worker_here():
    """Start from Python's own log level, and free to wait for results.

    A worker in this process, of a wider fixture too, sets another level and forbids to wait.
    """
    logging.getLogger().setLevel(logging.WARNING)
    yield
    logging.getLogger().setLevel(logging.WARNING)
    _set_task_join_will_block(blocks=False)


@pytest.fixture(scope="session")
def moto():
    yield from running(Moto())


@pytest.fixture(scope="session")
def ministack():
    yield from running(Ministack())


@pytest.fixture(scope="session")
def redis_server():
    yield from running(Redis())


@pytest.fixture(scope="session")
def rabbitmq_server():
    yield from running(RabbitMQ())


@pytest.fixture(params=["moto", "ministack"])
def aws(request, monkeypatch):
    """AWS, empty, on one stand-in after the other; the environment leads to it."""
    return entered(request.getfixturevalue(request.param), monkeypatch)


@pytest.fixture
def moto_aws(moto, monkeypatch):
    """AWS, empty, on moto alone; the environment leads to it."""
    return entered(moto, monkeypatch)


@pytest.fixture(scope="module")
def run_forked():
    """A function that runs a program in a process that was forked after Celery and boto3 were imported."""
    with ForkedPrograms() as started:
        yield started.run


@pytest.fixture
def proxy_to():
    """Return a function that puts a proxy in front of a URL until the test, with its workers, ends."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(Proxy(url))


@pytest.fixture
def s3(proxy_to, moto_aws, monkeypatch):
    """A proxy in front of S3 alone."""
    proxy = proxy_to(moto_aws.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
    yield proxy
    proxy.heal()  # workers end now, and clean up


@pytest.fixture
def proxy(request, proxy_to, monkeypatch):
    """A proxy in front of the test's ``aws``, or else of ``moto_aws``; the environment leads to it."""
    name = "aws" if "aws" in request.fixturenames else "moto_aws"
    started = proxy_to(request.getfixturevalue(name).url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", started.url)
    yield started
    started.heal()  # workers end now, and clean up
