"""CSV tables."""

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps, loads

from tasks.samples import BAD_ROW_EVERY, CSV_SCHEMA, sample_csv
from tasks.tables import READERS, REASONS_SHOWN, load_csv

EVERY_TYPE = {f"a {kind}": kind for kind in READERS}


def columns(text, schema, encoding="utf-8"):
    return load_csv(text.encode(encoding), schema)["columns"]


def bad(text, schema):
    return load_csv(text.encode(), schema)["bad_rows"]["first"]


def written(rows, delimiter=","):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("int", "42", 42),
        ("int", " -7 ", -7),
        ("int", "999999999999999999", 10**18 - 1),
        ("decimal", "12.50", Decimal("12.50")),
        ("decimal", "-3", Decimal(-3)),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("datetime", "2024-02-29T12:30:00Z", datetime(2024, 2, 29, 12, 30, tzinfo=UTC)),
        ("bool", "Yes", True),
        ("bool", "0", False),
        ("str", " as it is ", " as it is "),
        ("str", "", ""),
        ("str?", "", None),
        ("int?", " ", None),
        ("int?", "1", 1),
    ],
)
def test_a_cell(kind, cell, value):
    """A cell becomes a value of its column's type; an empty one ``None`` where the schema says so."""
    found = columns(written([["id", "x"], ["1", cell]]), {"x": kind})["x"]

    assert [(type(one), one) for one in found] == [(type(value), value)]


def test_the_scale_of_a_decimal():
    """A decimal keeps its trailing zeros."""
    assert str(columns("x\n1.500\n", {"x": "decimal"})["x"][0]) == "1.500"


@pytest.mark.parametrize(
    ("kind", "cell", "reason"),
    [
        ("int", "1.0", "not int"),
        ("int", "1_000", "not int"),
        ("int", "٣", "not int"),
        ("int", "9" * 19, "not int"),
        ("int", "9" * 5000, "not int"),
        ("decimal", "NaN", "not decimal"),
        ("decimal", "Infinity", "not decimal"),
        ("decimal", "1e999999", "not decimal"),
        ("decimal", "12,50", "not decimal"),
        ("date", "2024-02-30", "not date"),
        ("date", "01.02.2024", "not date"),
        ("datetime", "noon", "not datetime"),
        ("bool", "maybe", "not bool"),
        ("int", "", "empty"),
        ("date", "  ", "empty"),
        ("int?", "x", "not int"),
    ],
)
def test_a_bad_cell(kind, cell, reason):
    """A bad cell is reported by row, column and kind of reason."""
    found = bad(written([["id", "x"], ["1", cell]]), {"id": "int", "x": kind})

    assert found == [{"row": 1, "column": "x", "reason": reason}]


def test_a_bad_row_is_left_out():
    """A row with a bad cell is in no column, so columns stay in step."""
    result = load_csv(b"a,b\n1,2\nx,3\n4,5\n", {"a": "int", "b": "int"})

    assert result["columns"] == {"a": [1, 4], "b": [2, 5]}
    assert result["rows"] == 2
    assert result["bad_rows"]["count"] == 1


def test_every_bad_cell_of_a_row():
    """All bad cells of a row are reported, and the row is counted once."""
    result = load_csv(b"a,b\nx,y\n", {"a": "int", "b": "date"})

    assert [cell["column"] for cell in result["bad_rows"]["first"]] == ["a", "b"]
    assert result["bad_rows"]["count"] == 1


def test_many_bad_rows():
    """All bad rows are counted, and the first of them explained."""
    found = load_csv(b"a\n" + b"x\n" * 1000, {"a": "int"})["bad_rows"]

    assert found["count"] == 1000
    assert [cell["row"] for cell in found["first"]] == list(range(1, REASONS_SHOWN + 1))


@given(st.text(min_size=3), st.sampled_from(sorted(READERS)))
def test_the_report_does_not_quote(cell, kind):
    """A bad row's report has numbers, the schema's names and our words, never the cell's text."""
    schema = {"x": kind}
    found = bad(written([["id", "x"], ["1", cell], ["1", cell, cell], [cell]]), schema)

    assert {one["row"] for one in found} <= {1, 2, 3}
    assert {one["column"] for one in found} <= {"x", None}
    assert {one["reason"] for one in found} <= {f"not {kind}", "empty", "missing", "extra"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_encodings(encoding):
    """UTF-8, UTF-8 with a byte order mark and Latin-1 are distinguished."""
    result = load_csv("naïve\nMalmö\n".encode(encoding), {"naïve": "str"})

    assert result["encoding"] == encoding
    assert result["columns"] == {"naïve": ["Malmö"]}


def test_a_mark_before_latin_1():
    """A mark is never part of the first name, even if what follows is not UTF-8."""
    result = load_csv(b"\xef\xbb\xbfid\n\xe9\n", {"id": "str"})

    assert result["columns"] == {"id": ["é"]}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(delimiter):
    """The delimiter is the one that yields the schema's names, for every content of the cells."""
    text = written([["id", "note; or, remark\there"], ["1", "a,b;c\td"]], delimiter)
    result = load_csv(text.encode(), {"id": "int", "note; or, remark\there": "str"})

    assert result["delimiter"] == delimiter
    assert result["columns"]["note; or, remark\there"] == ["a,b;c\td"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_newlines(newline):
    """A line ends as on any system."""
    text = newline.join(["a,b", "1,2", "3,4", ""])

    assert columns(text, {"a": "int", "b": "int"}) == {"a": [1, 3], "b": [2, 4]}


def test_quoted_newlines():
    """A quoted cell may span lines, and is still one row."""
    result = load_csv(b'a,b\n"two\r\nlines",1\nx,nought\n', {"a": "str", "b": "int"})

    assert result["columns"]["a"] == ["two\r\nlines"]
    assert [cell["row"] for cell in result["bad_rows"]["first"]] == [2]


def test_blank_lines():
    """A blank line is no row."""
    result = load_csv(b"a\n\n1\n\nx\n", {"a": "int"})

    assert result["rows"] == 1
    assert [cell["row"] for cell in result["bad_rows"]["first"]] == [2]


def test_order_of_columns():
    """Columns are found by name, in any order, with or without blanks around it."""
    assert columns(" b , a \n2,1\n", {"a": "int", "b": "int"}) == {"a": [1], "b": [2]}


def test_a_name_twice():
    """Of two columns of the same name the first one is read."""
    assert columns("a,a\n1,2\n", {"a": "int"}) == {"a": [1]}


def test_extra_columns():
    """A column that the schema does not name is counted and not read."""
    result = load_csv(b"a,b,c\n1,x,y\n", {"a": "int"})

    assert result["extra_columns"] == 2
    assert result["columns"] == {"a": [1]}


def test_a_missing_column():
    """Without a column that may not be empty, every row is bad."""
    result = load_csv(b"a\n1\n2\n", {"a": "int", "b": "str"})

    assert result["missing_columns"] == ["b"]
    assert result["rows"] == 0
    assert {cell["reason"] for cell in result["bad_rows"]["first"]} == {"missing"}


def test_a_missing_column_that_may_be_empty():
    """A missing column that may be empty is empty."""
    result = load_csv(b"a\n1\n2\n", {"a": "int", "b": "int?"})

    assert result["missing_columns"] == ["b"]
    assert result["columns"] == {"a": [1, 2], "b": [None, None]}


def test_a_row_that_is_too_short():
    """A missing cell is reported even where an empty one would do: the row is torn."""
    found = bad("a,b\n1\n", {"a": "int", "b": "int?"})

    assert found == [{"row": 1, "column": "b", "reason": "missing"}]


def test_a_row_that_is_too_long():
    """A cell without a column spoils its row."""
    found = bad("a,b\n1,2,3\n", {"a": "int", "b": "int"})

    assert found == [{"row": 1, "column": None, "reason": "extra"}]


def test_an_unreadable_row():
    """A cell longer than the csv module reads costs its row, not the rows after it."""
    result = load_csv(f"a\n1\n{'x' * 200_000}\n3\n".encode(), {"a": "int"})

    assert result["columns"] == {"a": [1, 3]}
    assert result["bad_rows"]["first"] == [{"row": 2, "column": None, "reason": "unreadable"}]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"a"])
def test_a_file_without_rows(content):
    """A file without rows has empty columns."""
    result = load_csv(content, {"a": "int"})

    assert result["columns"] == {"a": []}
    assert result["bad_rows"] == {"count": 0, "first": []}


def test_an_unknown_type():
    """A schema with an unknown type raises an error that names the known types."""
    with pytest.raises(ValueError, match="known: int, decimal, date, datetime, bool, str"):
        load_csv(b"a\n1\n", {"a": "float"})


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "a int": st.integers(-(10**18) + 1, 10**18 - 1),
                "a decimal": st.decimals(-(10**9), 10**9, places=4),
                "a date": st.dates(),
                "a datetime": st.datetimes(timezones=st.none() | st.just(UTC)),
                "a bool": st.booleans(),
                "a str": st.text(),
            }
        ),
        max_size=3,
    ),
    st.sampled_from(",;\t"),
)
def test_what_was_written_is_read(rows, delimiter):
    """A table that the csv module wrote is read back, values, types and all."""
    cells = [EVERY_TYPE.keys(), *([row[name] for name in EVERY_TYPE] for row in rows)]
    result = load_csv(written(cells, delimiter).encode(), EVERY_TYPE)

    assert result["bad_rows"]["count"] == 0
    assert result["columns"] == {name: [row[name] for row in rows] for name in EVERY_TYPE}
    assert loads(dumps(result)) == result


@given(st.binary() | st.text(alphabet='a,;\t"\r\n1 \0').map(str.encode))
def test_no_content_raises(content):
    """Any bytes give a result that can be serialized."""
    result = load_csv(content, {"a": "int", "1": "str?"})

    assert {len(values) for values in result["columns"].values()} == {result["rows"]}
    assert loads(dumps(result)) == result


def test_a_sample():
    """A sample table loads but for its bad rows, and the result survives its trip."""
    rows = 6 * BAD_ROW_EVERY
    result = load_csv(loads(dumps(sample_csv(rows))), CSV_SCHEMA)

    assert (result["rows"], result["bad_rows"]["count"]) == (rows - 6, 6)
    assert loads(dumps(result)) == result


def test_name():
    """The task has the name that routes and callers use."""
    assert load_csv.name == "tables.load_csv"
