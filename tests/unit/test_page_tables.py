"""Tables of pages that mirror code: options, commands, log lines, spans, names of code."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from stacks import actions_of

from pipeline import idempotent
from pipeline.cli.main import main
from pipeline.transport import addressing, redelivery
from pipeline.transport.fanout import events
from pipeline.transport.transport_options import CHECKED_NAMES
from pipeline.worker import health

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TREES = [ast.parse(module.read_text()) for module in (ROOT / "pipeline").rglob("*.py")]
OF_KOMBU = {"wait_time_seconds", "polling_interval"}
"""Options that work as in Kombu, so the page leaves them to its documentation."""


def table(page, head):
    """Return the rows of the first table of a page whose first column has that head."""
    rows = (DOCS / page).read_text().partition(f"\n| {head} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip().strip("|").split(" | ")] for row in rows]


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_each_transport_option_is_shown():
    """The table has each option that is checked, but for those that are Kombu's alone."""
    shown = {name for row in table("reference/transport.md", "option") for name in quoted(row[0])}

    assert shown >= CHECKED_NAMES - OF_KOMBU


def test_defaults_of_transport_options():
    """The table shows the defaults of the code."""
    shown = dict(row[:2] for row in table("reference/transport.md", "option"))
    redelivered = (redelivery.FLOOR_SECONDS, redelivery.STEP_SECONDS, redelivery.LIMIT_SECONDS)

    assert shown["`max_receive_count`"] == str(addressing.MAX_RECEIVE_COUNT)
    assert shown["`health_seconds`"] == f"{health.INTERVAL_SECONDS:g}"
    assert ", ".join(map(str, redelivered)) in shown.values()
    assert (
        dict(row[:2] for row in table("operate/monitoring.md", "transport option"))["`event_gather_seconds`"]
        == f"{events.GATHER_SECONDS:g}"
    )


def commands():
    """Return the command line's commands by name, those of groups too."""
    for name in main.list_commands(None):
        command = main.get_command(None, name)
        yield name, command
        yield from ((f"{name} {each}", command.commands[each]) for each in getattr(command, "commands", {}))


def test_each_command_is_shown():
    """The table of commands has each command, and those of groups in place of the group."""
    shown = {re.match(r"[a-z ]+[a-z]", quoted(row[0])[0])[0] for row in table("operate/cli.md", "command")}

    assert shown == {name for name, command in commands() if not hasattr(command, "commands")}


@pytest.mark.parametrize("name", ["sweep", "dlq show", "dlq redrive", "dlq purge", "top"])
def test_each_option_of_a_command_is_shown(name):
    """The page explains each option of the commands that have many."""
    page = (DOCS / "operate/cli.md").read_text()
    options = [
        option for each in dict(commands())[name].params for option in each.opts if option.startswith("--")
    ]

    assert options
    assert [option for option in options if f"`{option}" not in page] == []


def defined(path):
    """Return the dotted names of a module and of its functions, classes and methods, without ``pipeline``."""
    module = ".".join(path.relative_to(ROOT / "pipeline").with_suffix("").parts)
    yield module
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield f"{module}.{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from (
                f"{module}.{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)
            )


def test_the_code_of_each_end_exists():
    """Each module, function and method that the table of ends names is there, under its full name."""
    known = {name for path in (ROOT / "pipeline").rglob("*.py") for name in defined(path)}
    shown = {name for row in table("explanation/life.md", "end") for name in quoted(row[1])}

    assert len(shown) > 10
    assert shown <= known


def texts():
    for tree in TREES:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_each_log_line_of_the_page_is_written():
    """The lines of the table are those of the library."""
    written = set(texts())
    for row in table("operate/tracing.md", "line"):
        for line in quoted(row[0]):
            text = line.rstrip("… ").rstrip(":, ")
            assert any(each.startswith(text) for each in written), line


def test_each_attribute_of_spans_is_written():
    """Each attribute of the table is one that the library writes."""
    written = {
        each
        for each in texts()
        if re.fullmatch(r"(messaging|aws|claimcheck|celery|error)(\.[a-z0-9_]+)+", each)
    }
    shown = {name for row in table("operate/tracing.md", "attribute") for name in quoted(row[0])}

    assert shown <= written


def test_each_argument_of_idempotent_is_shown():
    """The table has each argument of the decorator."""
    shown = [quoted(row[0])[0] for row in table("howto/idempotency.md", "argument")]

    assert shown == [name for name in inspect.signature(idempotent).parameters if name != "function"]


def actions(text):
    """Return the actions of AWS that a text names."""
    return set(re.findall(r"\b(?:s3|sqs|sns|events|kms|cloudwatch):[A-Z]\w+", text))


@pytest.mark.parametrize("role", ["producer", "worker"])
def test_permissions_before_production(role):
    """The short table of permissions has what each role needs without listeners and results."""
    column = ["producer", "worker"].index(role) + 1
    needed = {
        action
        for row in table("operate/checklist.md", "action")
        if row[column] == "yes"
        for action in actions(row[0])
    }

    optional = {"sns:Publish", "events:PutEvents", "s3:GetObjectVersion"}
    listeners = {"sqs:CreateQueue", "sqs:DeleteQueue", "sqs:TagQueue"}
    allowed = {each for each in actions(str(actions_of(role.title()))) if not each.startswith("sns:")}
    assert needed - optional == allowed - listeners


def test_permissions_of_monitoring():
    """The table of permissions for listeners has the actions of those who listen, command and sweep."""
    shown = {action for row in table("operate/monitoring.md", "action") for action in actions(row[0])}

    allowed = actions_of("Worker") | actions_of("Monitor") | actions_of("Sweeper")
    assert shown <= allowed
    assert {action for action in allowed if action.startswith("sns:")} <= shown
