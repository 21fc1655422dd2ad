"""The page about the wire format says what the code reads and writes."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement

from pipeline.claimcheck import claim, codec, compression
from pipeline.claimcheck.claim import Claim, Inline, Message
from pipeline.claimcheck.codec.extensions import NAMES
from pipeline.claimcheck.codec.libraries import READERS
from pipeline.claimcheck.headers import NAME, SHARED
from pipeline.telemetry.tracing import TRACEPARENT, TRACESTATE
from pipeline.worker.validation import REPUBLISHED

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/wire-format.md").read_text()
TYPES = {
    "str": "text",
    "bytes": "binary",
    "int": "integer",
    "bool": "boolean",
    "datetime": "timestamp",
    "vartuple": "array",
}


def rows(mark):
    """Return the cells of a table of the page, without its head."""
    table = PAGE.partition(f"<!-- {mark} -->\n")[2].partition(f"<!-- /{mark} -->")[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.strip().splitlines()[2:]]


def named(mark):
    """Return the names in the first column of a table."""
    return [name for row in rows(mark) for name in re.findall(r"`([\w-]+)`", row[0])]


def type_of(field):
    info = msgspec.inspect.type_info(field.type)
    if field.default is None:  # it may be left out
        info = info.types[0]
    kind = type(info).__name__.removesuffix("Type").lower()
    return TYPES.get(kind, "text" if kind == "literal" else "map")


@pytest.mark.parametrize(("mark", "struct"), [("message", Message), ("inline", Inline), ("claim", Claim)])
def test_each_field_is_shown(mark, struct):
    """Each table has the fields of its struct in the order of the code, with their types."""
    fields = msgspec.structs.fields(struct)

    assert [(row[0].strip("`"), row[1]) for row in rows(mark)] == [
        (field.name, type_of(field)) for field in fields
    ]


def test_each_shape_is_shown():
    """The page names each shape that a message may have."""
    [shape] = [field.type.__args__ for field in msgspec.structs.fields(Message) if field.name == "shape"]

    assert set(re.findall(r"`(\w+)`", rows("message")[0][3])) == set(shape)


def test_each_extension_is_shown():
    """The table of extensions has each name that a reader knows."""
    assert sorted(named("extensions")) == sorted([*NAMES, *READERS])


def test_each_header_is_shown():
    """The table of headers has each header that this library adds."""
    assert named("headers") == [NAME, SHARED, REPUBLISHED, TRACEPARENT, TRACESTATE]


def test_the_page_names_what_is_written():
    """Version, content type, codecs and compressions are those of the code."""
    assert f"writes version {claim.VERSION} and reads version {claim.VERSION} only" in PAGE
    assert f"`{claim.CONTENT_TYPE}`" in PAGE
    assert f"`{codec.MSGPACK}` or `{codec.PICKLE}`" in PAGE
    assert f"`{compression.NONE}` or `{compression.ZSTD}`" in PAGE


def test_the_page_on_versions_has_this_release():
    """Its last row says what this release writes and reads, and what it needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = [each.specifier for each in map(Requirement, project["dependencies"]) if "celery" in each.name]
    page = (ROOT / "docs/reference/versions.md").read_text()
    table = page.partition("<!-- versions -->\n")[2].partition("<!-- /versions -->")[0]
    *_, row = table.strip().splitlines()
    release, writes, reads, python, celery = (cell.strip() for cell in row.strip("|").split("|"))

    assert project["version"].startswith(f"{release}.")
    assert (writes, reads) == (str(claim.VERSION), str(claim.VERSION))
    assert project["requires-python"] == f">={python.removesuffix(' or later')}"
    assert [str(bound) for bound in bounds] == [f">={celery.removesuffix(' or later')}"]
