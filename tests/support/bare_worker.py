"""``celery worker`` alone: ``celery`` also loads all its other commands, and Flower, for a second of CPU.

It is Celery's own command with the context that it wants. Give it the app's name and the worker's options.
Source: celery 5.7.0, ``celery/__main__.py``, ``bin/celery.py``.
"""

import sys

from celery import maybe_patch_concurrency

if __name__ == "__main__":
    maybe_patch_concurrency()  # before anything is imported that it patches

    from celery.app.utils import find_app
    from celery.bin.base import CLIContext
    from celery.bin.worker import worker

    app, *words = sys.argv[1:]
    worker.main(words, obj=CLIContext(find_app(app), no_color=True, workdir=None))
