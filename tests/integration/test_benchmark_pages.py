"""What the pages show of benchmarks can be drawn and measured."""

import json
import re
from pathlib import Path

from benchmarks import cold_start
from benchmarks.harness import plots, report

ROOT = Path(__file__).parents[2]
RESULTS = json.loads(report.RESULTS.read_text())


def cells(row):
    """Return the cells of a table's row, with the texts of links alone."""
    return [re.sub(r"\[(.*)\]\(.*\)", r"\1", cell.strip()) for cell in row.strip("|").split("|")]


def test_every_plot_is_drawn(tmp_path):
    """The page shows each plot, and all of them can be drawn from the results."""
    plots.write(RESULTS, tmp_path)

    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in report.PLOTS.iterdir()}
    assert drawn == set(re.findall(r"\(\.\./images/benchmarks/(.*?)\)", report.PAGE.read_text()))


def test_cold_starts_are_measured():
    """The measurement of cold starts runs, and its table has the rows and units of the page."""
    page = (ROOT / "docs/howto/lambda.md").read_text().partition("## Cold start")[2]
    shown = [cells(row) for row in page.splitlines() if row.startswith("|")]
    measured = [cells(row) for row in cold_start.table(repetitions=1).splitlines() if row]

    assert [row[0] for row in measured] == [row[0] for row in shown]
    for rows in (shown[2:], measured[2:]):
        assert all(re.fullmatch(r"\d+(\.\d+)? s", time) for _, time, _ in rows)
        assert all(re.fullmatch(r"\d+ MB", memory) for _, _, memory in rows)
