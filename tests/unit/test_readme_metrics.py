"""The table of metrics that operators read."""

from pathlib import Path

from pipeline.metrics.table import METRICS

PAGE = Path(__file__).parents[2] / "docs/reference/metrics.md"

HEADER = """\
| metric | unit | recorded by | what it says |
| --- | --- | --- | --- |
"""


def metrics_table():
    """Render the table as the page shows it."""
    return HEADER + "".join(
        f"| `{metric.name}` | {metric.unit} | {metric.emitted_by} | {metric.description} |\n"
        for metric in METRICS
    )


def test_the_page_shows_the_table():
    """Between its marks the page shows every metric as the code defines it."""
    _, _, rest = PAGE.read_text().partition("<!-- metrics -->\n")
    shown, mark, _ = rest.partition("<!-- /metrics -->")

    assert mark
    assert shown.strip() == metrics_table().strip()
