"""The picture of the dashboard in the docs is drawn from its body, with the values of a real run.

``SCREENSHOTS=docs/images`` writes it anew; ``tests/dashboard_run.py`` makes the values.
"""

import json
import os
import re
from pathlib import Path

import pytest
from dashboard_picture import draw, of_lines, series_of

from deploy.monitoring import dashboard
from settings import QUEUES

IMAGES = Path(__file__).parents[2] / "docs/images"
LINES = (IMAGES / "dashboard.jsonl").read_text().splitlines()
BODY = json.loads(dashboard.body(QUEUES).replace("${DeploymentId}", "demo"))
WIDGETS = {
    each["properties"]["title"]: each["properties"] for each in BODY["widgets"] if each["type"] == "metric"
}


def texts(path):
    """Return titles, labels and numbers of a picture: other versions of matplotlib draw other lines."""
    return re.findall(r">([^<>]+)</text>", path.read_text())


def test_the_picture_is_of_this_dashboard(tmp_path):
    """The picture in the docs is what the body of today and the values of the run make."""
    path = Path(os.environ.get("SCREENSHOTS", tmp_path)) / "dashboard.svg"
    draw(BODY, LINES, path)

    assert texts(path) == texts(IMAGES / "dashboard.svg")


@pytest.mark.parametrize(
    "title", ["Tasks", "Run time", "Payloads", "Store", "Tasks that workers may run at once"]
)
def test_the_run_has_values(title):
    """Lines of the dashboard have values: what the body asks for is what processes send."""
    assert any(values for _, values in series_of(WIDGETS[title], of_lines(LINES)))
