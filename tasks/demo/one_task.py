"""The command ``python -m tasks.demo.one_task``: one task with a large argument, and its result."""

import tasks.app  # noqa: F401 - the task is that of the application
from tasks.reports import summarise
from tasks.samples import sample_report

TIMEOUT_SECONDS = 120
"""How long the result is awaited: a service that has no worker may have to start one."""

if __name__ == "__main__":
    print(summarise.delay(sample_report(50_000)).get(timeout=TIMEOUT_SECONDS)["total"])  # noqa: T201
