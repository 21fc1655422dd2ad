"""The arithmetic of docs/explanation/costs.md: what it adds up is what there is."""

import re
from pathlib import Path

from pipeline.metrics.table import METRICS

PAGE = (Path(__file__).parents[2] / "docs/explanation/costs.md").read_text()
README = (Path(__file__).parents[2] / "README.md").read_text()
METRIC_DOLLARS = 0.30
PUT_DOLLARS, GET_DOLLARS, SQS_DOLLARS = 5.00, 0.40, 0.40
"""Of a million requests."""
ROW = re.compile(r"\| (tasks that .+|everything .+) \| (\d+): (.+) \| \$(\d+\.\d\d) \|")


def rows():
    """Return count, names and price of what a pair of queue and task does, row by row."""
    found = [match.groups()[1:] for match in map(ROW.match, PAGE.splitlines()) if match]
    return [(int(count), set(re.findall(r"`(\w+)`", names)), float(price)) for count, names, price in found]


def test_metrics_of_a_pair_are_counted():
    """A row's number is that of the metrics that it names, with those of the rows before it."""
    (inline, inline_names, _), (offloaded, offloaded_names, _), (all_of_them, more, _) = rows()

    assert inline == len(inline_names)
    assert offloaded == len(inline_names | offloaded_names) - 1
    assert all_of_them == len(inline_names | offloaded_names | more)
    assert inline_names | offloaded_names | more <= {metric.name for metric in METRICS}


def test_metrics_of_a_pair_are_priced():
    """A row's price is its number of metrics at the price of one, and so is the bound below the table."""
    for count, _, price in rows():
        assert price == round(count * METRIC_DOLLARS, 2)
    number, price = re.search(r"101 . (\d+) metrics, \$(\d+\.\d\d) a month", PAGE).groups()

    assert int(number) == rows()[-1][0]
    assert float(price) == round(101 * int(number) * METRIC_DOLLARS, 2)


def test_dollars_of_the_readme_follow_from_its_calls():
    """Dollars of the README are its calls at the prices of the page, where the arithmetic is shown."""
    calls, dollars = (
        [float(each) for each in re.findall(r"\d+\.\d+", line)]
        for line in README.splitlines()
        if line.startswith(("| AWS calls for a task, published together | 2", "| dollars per million"))
    )
    offloaded, naive = PUT_DOLLARS + GET_DOLLARS, PUT_DOLLARS + 2 * GET_DOLLARS
    expected = [
        offloaded + (calls[0] - 2) * SQS_DOLLARS,
        offloaded + (calls[1] - 2) * SQS_DOLLARS,
        naive + (calls[2] - 4) * SQS_DOLLARS,
    ]

    assert dollars == [round(each, 1) for each in expected]
    assert all(f"${each:.2f}" in PAGE for each in expected)
