"""What the pages say is what the code does: tables are equal, links lead somewhere."""

import inspect
import re
from pathlib import Path

import pytest

import pipeline
from pipeline.options import Options
from settings import CelerySettings, ClaimCheckSettings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "deploy" / "README.md",
]

MINIMAL = """\
from celery import Celery
import pipeline
app = Celery("shop", broker="sqs://")
pipeline.install(app, store="s3://my-bucket/claims")
@app.task
def total(orders): return sum(order["amount"] for order in orders)
"""

WORDS = (
    *("claim", "payload", "body", "object", "key", "prefix", "store", "offload", "rehydrate", "release"),
    *("threshold", "limit", "retry", "redelivery", "redrive", "settle", "sweep", "orphan"),
    *("reuse", "record", "handle", "door", "ledger", "member", "pack"),
    *("visibility timeout", "receipt handle", "dead-letter queue (DLQ)", "maxReceiveCount"),
)
"""The words of the design: one for each concept."""


def table(page, name):
    """Return the cells of the table between two marks of a page, without its head."""
    _, _, rest = (ROOT / "docs" / page).read_text().partition(f"<!-- {name} -->\n")
    shown, mark, _ = rest.partition(f"<!-- /{name} -->")
    assert mark, name
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in shown.strip().splitlines()[2:]]


def rendered(value):
    """Show a default as the page does."""
    if value is None or value == "":
        return "none" if value is None else "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:,g}" if isinstance(value, float) else f"{value:,}"


def slug(heading):
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def test_the_first_example_is_all_it_takes():
    """The page begins with six lines."""
    assert MINIMAL in README
    assert README.index("```python") == README.index(f"```python\n{MINIMAL}")


def test_the_entry_page_is_short():
    """The README is at most 150 lines long: what is more is a page of docs/."""
    assert len(README.splitlines()) <= 150


def test_the_options_are_shown():
    """The table has every option, in the code's order, with its default."""
    expected = [(f"`{name}`", rendered(getattr(Options(), name))) for name in Options.__dataclass_fields__]

    assert [
        (option, default) for option, _, default, _ in table("reference/settings.md", "options")
    ] == expected


def test_the_arguments_are_shown():
    """The table has every argument of ``pipeline.install``, with its default."""
    expected = []
    for name, parameter in inspect.signature(pipeline.install).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            expected.append((f"`**{name}`", ""))
        else:
            required = parameter.default is parameter.empty
            expected.append((f"`{name}`", "required" if required else rendered(parameter.default)))

    assert [
        (argument, default) for argument, default, _ in table("reference/settings.md", "arguments")
    ] == expected


def test_the_environment_is_shown():
    """The table has every variable that the application reads, with its default."""
    expected = [
        (f"`{settings.model_config['env_prefix']}{name.upper()}`", rendered(field.default))
        for settings in (CelerySettings, ClaimCheckSettings)
        for name, field in settings.model_fields.items()
    ]

    assert [
        (variable, default) for variable, _, default, _ in table("reference/settings.md", "environment")
    ] == expected


def test_the_words_are_explained():
    """The table has every word of the design, and each of its words once."""
    shown = [word for row in table("glossary.md", "words") for word in row[0].split(", ")]

    assert sorted(shown) == sorted(WORDS)


def test_every_error_is_explained():
    """The table has every exported error that is raised itself; the page says which error is not exported."""
    raised = [
        name
        for name in pipeline.__all__
        if isinstance(each := getattr(pipeline, name), type)
        and issubclass(each, Exception)
        and not each.__subclasses__()
    ]

    page = (ROOT / "docs/reference/errors.md").read_text()
    shown = re.findall(r"^\| `(\w+)`", page, re.MULTILINE)
    (not_exported,) = re.findall(r"`pipeline` exports them, except `(\w+)`", page)

    assert raised
    assert set(raised) <= set(shown)
    assert set(shown) - set(pipeline.__all__) == {not_exported, "ValueError"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_every_target_exists(page):
    """A page names no target that make does not know."""
    text = (ROOT / "Makefile").read_text() + (ROOT / "deploy/deploy.mk").read_text()
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))

    assert set(re.findall(r"`make ([a-z-]+)`", page.read_text())) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_links_lead_somewhere(page):
    """Every file that a page links exists, and every heading too."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if not path.startswith("https://"):
            target = (page.parent / path).resolve() if path else page

            assert target.exists(), link
            if anchor:
                headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
                assert anchor in map(slug, headings), link
