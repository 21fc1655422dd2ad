"""What people read in a log, whatever formatter they have; and how they read sizes."""

import logging

import pytest

from pipeline.claimcheck.handles.handle import Handle
from pipeline.errors import PayloadMissingError
from pipeline.telemetry import log_lines
from pipeline.telemetry.sizes import size

logger = log_lines.logger(__name__)


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1_023, "1,023 bytes"),
        (1_024, "1.0 KiB"),
        (1_048_524, "1,023.9 KiB"),
        (1_048_525, "1.0 MiB"),
        (1_258_291, "1.2 MiB"),
        (5 * 1024**4, "5.0 TiB"),
        (5_000 * 1024**4, "5,000.0 TiB"),
    ],
)
def test_a_size_has_a_unit(size_bytes, shown):
    """Sizes are in binary units, with one digit and separators."""
    assert size(size_bytes) == shown


def test_the_text_carries_the_fields(caplog):
    """What is known stands in the text, with units, and in the record's attributes as it is."""
    fields = {"task_id": "1-2", "key": None, "payload_bytes": 1_258_291, "run_seconds": 0.25, "attempt": 0}
    with caplog.at_level(logging.INFO):
        logger.info("task %s", "ran", extra=fields)
    [record] = caplog.records

    assert record.getMessage() == "task ran [task_id=1-2, payload=1.2 MiB, run=0.250 s, attempt=0]"
    assert (record.payload_bytes, record.run_seconds, record.key) == (1_258_291, 0.25, None)


def test_a_line_without_fields_is_as_it_was(caplog):
    """Without fields nothing is added."""
    logger.warning("100%% of %s", "it")

    assert caplog.messages == ["100% of it"]


def test_a_header_breaks_no_line(caplog):
    """A log line stays one short line for every task id that a sender writes."""
    logger.warning("task rejected", extra={"task_id": "a\n\x1b[31m" + "b" * 10_000, "task_name": {"x": 1}})

    [text] = caplog.messages
    assert text.startswith(r"task rejected [task_id=a\n\x1b[31mbbb")
    assert text.endswith(", task_name={'x': 1}]")
    assert len(text) < 300


def test_a_key_breaks_no_line():
    """The key of an object that others have stored may hold any character: errors and handles escape them."""
    handle = Handle(store="uploads", key="input/a\nERROR \x1b[31mforged \ud800é")

    for text in (str(PayloadMissingError(f"payload missing [key={handle.key}]")), repr(handle)):
        assert r"input/a\nERROR \x1b[31mforged \ud800é" in text


def test_a_line_names_its_own_place(caplog):
    """A formatter that prints file and function prints those of the caller."""
    logger.warning("here")

    assert caplog.records[0].funcName == "test_a_line_names_its_own_place"


def test_a_line_below_the_level_costs_nothing(caplog):
    """A line below the log level is not formatted."""

    class Never:
        def __str__(self):
            raise AssertionError

    with caplog.at_level(logging.ERROR, __name__):
        logger.info("x", extra={"task_id": Never()})

    assert caplog.records == []
