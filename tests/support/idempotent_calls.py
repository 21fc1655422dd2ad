"""Idempotent tasks that run in the test's process, as a worker runs them."""

from contextlib import contextmanager

from celery._state import _task_stack

from pipeline import idempotent


@contextmanager
def delivered(task, task_id="one", **context):
    """Be a worker that runs a message of this task."""
    _task_stack.push(task)
    task.push_request(id=task_id, called_directly=False, **context)
    try:
        yield
    finally:
        task.pop_request()
        _task_stack.pop()


def counting(app, **settings):
    """Return a task that counts its runs, and the list that it counts in."""
    runs = []

    @app.task(shared=False)
    @idempotent(**settings)
    def charge(order=1, price=2):
        runs.append(order)
        return len(runs)

    return charge, runs
