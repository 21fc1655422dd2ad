"""A worker process, with its children: it runs until it is killed."""

import importlib
import os

if __name__ == "__main__":
    importlib.import_module(os.environ["BENCH_MODULE"]).consume()
