"""A worker process, with its children: it runs until it is killed."""

import importlib

from benchmarks.peers.settings import Settings

if __name__ == "__main__":
    settings = Settings.read()
    if settings.pool == "gevent":
        from gevent import monkey

        monkey.patch_all()
    importlib.import_module(settings.module).consume()
