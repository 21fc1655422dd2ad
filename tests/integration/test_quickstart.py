"""The steps of docs/quickstart.md, on the local AWS that the page starts."""

import shlex

import pytest
from page_steps import Steps
from workers import eventually

from pipeline.local import HOST, free_port

pytestmark = [pytest.mark.aws, pytest.mark.worker]

QUICK = """
app.conf.broker_transport_options = {**app.conf.broker_transport_options, "wait_time_seconds": 1}
app.conf.worker_enable_remote_control = False  # no command waits for its answers
"""


def test_the_steps_of_the_quickstart(tmp_path):
    """From an empty folder to a large task that ran, with the commands of the page."""
    local = f"pipeline local --port {free_port()}"
    page = Steps("quickstart.md", tmp_path, QUICK, {"pip install": "echo", "pipeline local": local})
    page.run("echo PATH_TO_THE_CLONE")
    page.write("shop.py")
    page.run("echo 'PATH_TO_THE_CLONE[local]'")
    with page.running(local, ready="export ") as printed:
        (line,) = [line for line in printed().splitlines() if line.startswith("export ")]
        page.environment |= dict(word.split("=", 1) for word in shlex.split(line)[1:])
        page.run("pipeline -A shop provision")
        page.run("pipeline -A shop doctor")
        with page.running("celery -A shop worker") as log:
            page.run("python -c")
            eventually(lambda: "payload released" in log(), 60)
    page.check_all_used()

    assert HOST in line
    assert log().index("task ran") < log().index("payload released")
