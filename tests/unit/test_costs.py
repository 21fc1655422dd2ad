"""The arithmetic of docs/explanation/costs.md: what it adds up is what there is."""

import math
import re
from pathlib import Path

from pipeline.metrics.table import METRICS
from pipeline.options import CHEAPER_OFFLOADED_BYTES

PAGE = (Path(__file__).parents[2] / "docs/explanation/costs.md").read_text()
METRIC_DOLLARS = 0.30
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


def dollars_per_million(words):
    """Return a price of the first table for a million requests."""
    dollars, count = re.search(rf"\| {words}[^|]*\| \$([\d.]+) per (million|1,000)", PAGE).groups()
    return float(dollars) * (1_000 if count == "1,000" else 1)


def test_the_threshold_by_cost_is_the_break_even():
    """At ``auto`` a message costs less than a claim with its payload, and with one chunk more, more."""
    request, chunk = dollars_per_million("SQS standard queue"), 65_536
    offloaded = 3 * request + dollars_per_million("S3 PUT") + dollars_per_million("S3 GET")

    def inline(size_bytes):
        return (2 * math.ceil(size_bytes / chunk) + 1) * request

    assert inline(CHEAPER_OFFLOADED_BYTES) < offloaded < inline(CHEAPER_OFFLOADED_BYTES + 1)
    assert f"{CHEAPER_OFFLOADED_BYTES:,} bytes on the wire" in PAGE
