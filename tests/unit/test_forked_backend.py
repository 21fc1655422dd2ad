"""Prefork children have connections of their own to the result backend."""

from types import SimpleNamespace

from celery import Celery, signals

from pipeline.worker.celery_fixes.forked_backend import follow_forks


def test_each_app_of_a_process_is_followed():
    """A child renews the backend's client of every app that its parent ran a worker of."""
    backends = [SimpleNamespace(_client="parent's", _get_client=None) for _ in range(2)]
    apps = [Celery("sample_app", backend="cache+memory://", set_as_current=False) for _ in backends]
    for app, backend in zip(apps, backends, strict=True):
        app._local.backend = backend
        follow_forks(app)

    signals.worker_process_init.send(sender=None)

    assert [backend._client for backend in backends] == [None, None]
