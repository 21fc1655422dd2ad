"""A producer process: it warms up, waits for a line, publishes, and prints seconds and CPU as JSON."""

import importlib
import json
import os
import sys
import time

from benchmarks.peers.workload import WARM_UP_TASKS

if __name__ == "__main__":
    peer = importlib.import_module(os.environ["BENCH_MODULE"])
    peer.publish(WARM_UP_TASKS)
    print("ready", flush=True)
    count = int(sys.stdin.readline())
    start, cpu = time.perf_counter(), time.process_time()
    peer.publish(count)
    figures = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps(figures), flush=True)
