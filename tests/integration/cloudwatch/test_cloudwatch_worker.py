"""A worker's metrics are in CloudWatch when its warm shutdown ends."""

import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from pipeline.metrics.table import RUN_SECONDS, TASKS_FAILED, TASKS_SUCCEEDED

pytestmark = pytest.mark.aws

APPLICATION = """
    import time
    from celery import Celery
    from pipeline.metrics import CloudWatchSink
    from pipeline.metrics.recorder import Recorder
    from pipeline.worker.signals import observe

    app = Celery("observed", broker="filesystem://")
    folder = {{"data_folder_in": "{queue}", "data_folder_out": "{queue}", "control_folder": "{control}"}}
    app.conf.update(broker_transport_options=folder, task_ignore_result=True)
    observe(Recorder(CloudWatchSink("{namespace}", endpoint_url="{url}"), interval_seconds=3600))

    @app.task
    def nap():
        time.sleep(0.1)

    @app.task
    def fail():
        raise ValueError

    @app.task(time_limit=1)
    def hang():
        time.sleep(60)
"""


@pytest.fixture
def application(tmp_path, url, namespace):
    """The folder of an application that sends its metrics to the stand-in, at shutdown only."""
    folders = {"queue": tmp_path / "queue", "control": tmp_path / "control"}
    for folder in folders.values():
        folder.mkdir()
    source = APPLICATION.format(url=url, namespace=namespace, **folders)
    (tmp_path / "observed.py").write_text(dedent(source))
    return tmp_path


def celery(application, *arguments):
    environment = {**os.environ, "PYTHONPATH": f"{application}{os.pathsep}{Path.cwd()}"}
    command = [sys.executable, "-m", "celery", "-A", "observed", *arguments]
    return subprocess.Popen(command, env=environment, cwd=application, start_new_session=True)


def wait_until(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.worker
@pytest.mark.parametrize(
    ("pool", "outcomes"),
    [
        ("prefork", {"nap": TASKS_SUCCEEDED, "fail": TASKS_FAILED}),
        ("prefork", {"hang": TASKS_FAILED}),
        ("threads", {"nap": TASKS_SUCCEEDED, "fail": TASKS_FAILED}),
        ("solo", {"nap": TASKS_SUCCEEDED, "fail": TASKS_FAILED}),
    ],
)
def test_a_worker_reports_before_it_ends(application, read, pool, outcomes):
    """CloudWatch has each metric of a worker's processes once when its warm shutdown ends."""
    for task in outcomes:
        assert celery(application, "call", f"observed.{task}").wait(60) == 0
    worker = celery(application, "worker", "-P", pool, "-c", "1", "--without-gossip", "--without-mingle")
    wait_until(lambda: not list((application / "queue").iterdir()))
    time.sleep(4)  # the last task was taken off the queue, and may need its time limit
    worker.terminate()

    assert worker.wait(60) == 0
    for task, metric in outcomes.items():
        assert read(metric, Queue="celery", Task=f"observed.{task}")["sum"] == 1
    if "nap" in outcomes:
        assert read(RUN_SECONDS, Queue="celery", Task="observed.nap")["sum"] >= 0.1
