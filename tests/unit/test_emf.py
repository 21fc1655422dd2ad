"""Lines in the Embedded Metric Format: they follow the specification, and no value is lost."""

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schemas import validator

from pipeline.metrics import EmbeddedMetricFormatSink, Series, Unit
from pipeline.metrics.recorder import Recorder
from pipeline.metrics.sinks import emf
from pipeline.metrics.table import (
    METRICS,
    PAYLOAD_BYTES,
    QUEUE_BACKLOG,
    RUN_SECONDS,
    TASKS_FAILED,
    TASKS_SUCCEEDED,
)

SCHEMA = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "additionalProperties": False,
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": {"type": "string", "minLength": 1, "maxLength": 255},
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"type": "array", "maxItems": 9, "items": {"type": "string"}},
                            },
                            "Metrics": {
                                "type": "array",
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "Name": {"type": "string", "minLength": 1, "maxLength": 255},
                                        "Unit": {"enum": ["Seconds", "Bytes", "Count"]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}
"""What the specification says, as far as it concerns us.
Source: CloudWatch User Guide, "Specification: Embedded metric format"."""


@cache
def embedded_metric_format():
    return validator(SCHEMA)


def lines_of(*batch, **options):
    """Return the documents that a batch becomes, each checked against the specification."""
    written = []
    EmbeddedMetricFormatSink(write=written.append, **options).emit(batch)
    return [checked(line) for line in written]


def checked(line):
    assert "\n" not in line
    assert len(line) + 1 <= emf.LINE_LIMIT_BYTES
    document = json.loads(line)
    embedded_metric_format()(document)
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert all(isinstance(document[name], str) for names in directive["Dimensions"] for name in names)
    for metric in directive["Metrics"]:
        assert len(document[metric["Name"]]) <= 100
        assert all(isinstance(value, int | float) for value in document[metric["Name"]])
    return document


def named(document):
    return {each["Name"]: each["Unit"] for each in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]}


def test_a_line_is_what_cloudwatch_reads():
    """A line names namespace, dimensions, metric and unit, and has values at its root."""
    before = datetime.now(UTC).timestamp() * 1_000
    (line,) = lines_of(Series(RUN_SECONDS, "q", "t", {0.5: 2, 0.25: 1}))

    assert line["_aws"]["CloudWatchMetrics"] == [
        {
            "Namespace": "ClaimCheck",
            "Dimensions": [["Queue", "Task"]],
            "Metrics": [{"Name": "RunSeconds", "Unit": "Seconds"}],
        }
    ]
    assert (line["Queue"], line["Task"], line["RunSeconds"]) == ("q", "t", [0.5, 0.5, 0.25])
    assert before - 1 <= line["_aws"]["Timestamp"] <= before + 60_000


def test_unknown_dimensions_are_empty():
    """A metric without queue and task has the empty set of dimensions, and not an empty text."""
    (line,) = lines_of(Series(TASKS_FAILED, "", "", {1: 1}))

    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [[]]
    assert line.keys() == {"_aws", "TasksFailed"}


def test_each_pair_of_queue_and_task_has_lines_of_its_own():
    """The values of one dimension stand once at the root, so two tasks are two lines."""
    batch = [Series(metric, "q", task, {1: 1}) for metric in (TASKS_FAILED, RUN_SECONDS) for task in "ab"]

    assert [(line["Task"], named(line)) for line in lines_of(*batch)] == [
        ("a", {"TasksFailed": "Count", "RunSeconds": "Seconds"}),
        ("b", {"TasksFailed": "Count", "RunSeconds": "Seconds"}),
    ]


def test_counts_are_summed():
    """A million successes are one number: CloudWatch reads a count as a sum."""
    (line,) = lines_of(Series(TASKS_SUCCEEDED, "q", "t", {1: 999_998, 2: 1}))

    assert line["TasksSucceeded"] == [1_000_000]


def test_levels_are_the_last():
    """Of a level only the last counts."""
    (line,) = lines_of(Series(QUEUE_BACKLOG, "q", "", {7: 3, 5: 1}))

    assert line["QueueBacklog"] == [5]


@given(st.lists(st.integers(0, 2**40), max_size=1_500), st.text(max_size=60))
def test_sizes_are_written_one_by_one(sizes, task):
    """Each size is written as often as it was recorded, for any number of sizes and any task name."""
    written = []
    recorder = Recorder(EmbeddedMetricFormatSink(write=written.append))
    for size in sizes:
        recorder.record(PAYLOAD_BYTES, size, queue="q", task=task)
    recorder.close()

    counts = Counter(value for line in written for value in checked(line)["PayloadBytes"])
    assert counts == Counter(sizes)


def test_a_whole_table_fits_few_lines():
    """Everything that one pair of queue and task can do in a minute is one line."""
    batch = [Series(metric, "default", "reports.summarise", {0.123: 1}) for metric in METRICS]

    (line,) = lines_of(*batch)

    assert named(line) == {metric.name: metric.unit.value for metric in METRICS}
    assert {metric.unit for metric in METRICS} == set(Unit)


@pytest.mark.parametrize(("name", "sent"), [("é\n", "??"), (":x", "x"), ('"\\', '"\\')])
def test_dimensions_are_what_cloudwatch_takes(name, sent):
    """A name is made printable, as for the API."""
    (line,) = lines_of(Series(TASKS_FAILED, "", name, {1: 1}))

    assert line["Task"] == sent


@pytest.mark.parametrize("namespace", ["", "AWS/SQS", ":x", "é", "n" * 256])
def test_namespaces_are_checked_at_once(namespace):
    """A namespace that CloudWatch does not accept raises ValueError when the sink is built."""
    with pytest.raises(ValueError, match="namespace"):
        EmbeddedMetricFormatSink(namespace)


def test_another_namespace():
    """The namespace is the application's to choose."""
    (line,) = lines_of(Series(TASKS_FAILED, "", "", {1: 1}), namespace="Shop")

    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Shop"


def test_standard_output_is_the_default(capfd):
    """Lines go to the process's standard output, even if ``sys.stdout`` was replaced."""
    EmbeddedMetricFormatSink().emit([Series(TASKS_FAILED, "", "", {1: 3})])
    printed = capfd.readouterr()

    assert checked(printed.out.removesuffix("\n"))["TasksFailed"] == [3]
    assert printed.err == ""


CHILDREN = """
    import os
    from pipeline.metrics import EmbeddedMetricFormatSink
    from pipeline.metrics import Series, Unit
    from pipeline.metrics.table import METRICS

    values = {float(10**9 + number): 1 for number in range(90)}
    sink = EmbeddedMetricFormatSink()
    children = []
    for child in range(8):
        pid = os.fork()
        if not pid:
            measured = [metric for metric in METRICS if metric.unit is not Unit.COUNT]
            for _ in range(8):
                sink.emit([Series(metric, "q", f"task-{child}", values) for metric in measured])
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
"""


def test_processes_do_not_cut_into_each_others_lines():
    """Eight children whose pipe is full most of the time write whole lines, and lose no value."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", dedent(CHILDREN)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    with process:
        lines = [checked(line.removesuffix("\n")) for line in process.stdout]

    assert process.returncode == 0
    assert Counter(line["Task"] for line in lines for _ in line.get("RunSeconds", ())) == {
        f"task-{child}": 8 * 90 for child in range(8)
    }


def test_what_cannot_be_written_is_counted(monkeypatch):
    """Values that standard output did not take are counted as dropped once it takes lines again."""
    written, errors = [], [BlockingIOError(11, "full")]

    def write(line):
        if errors:
            raise errors.pop()
        written.append(line)

    recorder = Recorder(EmbeddedMetricFormatSink(write=write))
    for _ in range(2):
        recorder.record(TASKS_FAILED)
        recorder.flush()
    recorder.close()

    assert [json.loads(line).get("DataDropped") for line in written] == [[1]]


def test_half_a_line_is_an_error(monkeypatch):
    """A write that took less than the line is no success."""
    monkeypatch.setattr(emf.os, "write", lambda _, data: len(data) - 1)

    with pytest.raises(OSError, match="part of a line"):
        EmbeddedMetricFormatSink().emit([Series(TASKS_FAILED, "", "", {1: 1})])
