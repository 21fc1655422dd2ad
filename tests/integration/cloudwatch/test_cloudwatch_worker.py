"""A worker's metrics are in CloudWatch when its warm shutdown ends."""

import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest
from workers import eventually

from pipeline.metrics.table import RUN_SECONDS, TASKS_FAILED, TASKS_SUCCEEDED

pytestmark = pytest.mark.aws

APPLICATION = """
    import time
    from celery import Celery
    from pipeline.metrics import CloudWatchSink
    from pipeline.metrics.recorder import Recorder
    from pipeline.worker.signals import observe

    app = Celery("observed", broker="sqs://")
    app.conf.update(task_default_queue="observed", task_ignore_result=True)
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
def application(tmp_path, moto_aws, namespace):
    """The folder of an application that sends its metrics to the stand-in, at shutdown only."""
    source = APPLICATION.format(url=moto_aws.url, namespace=namespace)
    (tmp_path / "observed.py").write_text(dedent(source))
    return tmp_path


def celery(application, *arguments):
    environment = {**os.environ, "PYTHONPATH": f"{application}{os.pathsep}{Path.cwd()}"}
    command = [sys.executable, "-m", "celery", "-A", "observed", *arguments]
    return subprocess.Popen(command, env=environment, cwd=application, start_new_session=True)


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
def test_a_worker_reports_before_it_ends(application, moto_aws, read, pool, outcomes):
    """CloudWatch has each metric of a worker's processes once when its warm shutdown ends."""
    for task in outcomes:
        assert celery(application, "call", f"observed.{task}").wait(60) == 0
    worker = celery(application, "worker", "-P", pool, "-c", "1", "--without-gossip", "--without-mingle")
    eventually(lambda: sum(moto_aws.depth("observed")) == 0, 60)
    time.sleep(4)  # the last task was taken off the queue, and may need its time limit
    worker.terminate()

    assert worker.wait(60) == 0
    for task, metric in outcomes.items():
        assert read(metric, Queue="observed", Task=f"observed.{task}")["sum"] == 1
    if "nap" in outcomes:
        assert read(RUN_SECONDS, Queue="observed", Task="observed.nap")["sum"] >= 0.1
