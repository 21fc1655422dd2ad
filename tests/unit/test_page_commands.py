"""Commands and settings on the pages exist: each command is one that its program takes.

Whether a command does what its page says is tested where the page says so; this finds what was renamed.
"""

import importlib.util
import re
import shlex
import tomllib
from functools import partial
from itertools import dropwhile, takewhile

import boto3
import click
import pytest
import yaml
from botocore import xform_name
from celery.app.defaults import NAMESPACES, flatten
from celery.bin.celery import celery
from page_programs import PAGES, ROOT

from benchmarks.__main__ import TABLES
from pipeline.cli.main import main

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILES = (ROOT / "Makefile").read_text() + (ROOT / "deploy" / "deploy.mk").read_text()
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SPANS = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
SHELLS = {"console", "bash", "sh", ""}
ASSIGNMENT = re.compile(r"[A-Z_]+=\S*\Z")


def click_command(command, words):
    """Parse the words that follow the name of a program made with click."""
    context = click.Context(command)
    _, rest, _ = command.make_parser(context).parse_args(words)
    if isinstance(command, click.Group) and rest:
        _, subcommand, rest = command.resolve_command(context, rest)
        click_command(subcommand, rest)


def celery_command(words):
    """Celery loads Flower as a command, which reads its own options."""
    if "flower" not in words:
        click_command(celery, words)


def make_command(words):
    for word in words:
        target, assigned, _ = word.partition("=")
        assert re.search(rf"\$[({{]{target}\b" if assigned else rf"^{target}:", MAKEFILES, re.MULTILINE), word


def python_command(words):
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]), words
        if words[1] == "benchmarks":
            names = [word for word in words[2:] if re.fullmatch("[a-z_]+", word)]
            assert words[2].startswith("--") or set(names) <= {*TABLES, "peers", "pages"}, words


def aws_command(words):
    """Compare an operation and its options with the API; a few commands are of the CLI alone."""
    words = words[2:] if words[0] == "--endpoint-url" else words
    if words[0] == "s3" or words[:2] == ["cloudformation", "deploy"]:
        return
    client = boto3.client(words[0].replace("s3api", "s3"), region_name="eu-west-1")
    model = client.meta.service_model.operation_model(
        client.meta.method_to_api_mapping[words[1].replace("-", "_")]
    )
    members = {xform_name(name, "-") for name in model.input_shape.members}
    options = {word[2:] for word in words if word.startswith("--")} - {"output", "query", "region"}
    assert options <= members, words


def pip_command(words):
    for extra in re.findall(r"\[([a-z,]+)\]", " ".join(words)):
        assert set(extra.split(",")) <= PROJECT["optional-dependencies"].keys()


def compose_command(words):
    """Compare the services that are named with those of the Compose file."""
    if words[0] != "compose":
        return
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    verbs = [word for word in words[1:] if not word.startswith("-")]
    named = [word.partition("=")[0] for word in verbs if word not in {"demo", "up", "down", "logs", "run"}]
    assert set(named) <= services.keys(), words


def kubectl_command(words):
    assert (ROOT / words[-1]).exists(), words


PROGRAMS = {
    "pipeline": partial(click_command, main),
    "celery": celery_command,
    "make": make_command,
    "python": python_command,
    "aws": aws_command,
    "pip": pip_command,
    "docker": compose_command,
    "kubectl": kubectl_command,
}
"""A check for each program."""

OTHERS = {"find", "git", "redis-cli", "rabbitmqctl", "celery-exporter", "celery-prometheus-exporter", "sam"}
"""Programs whose commands are not checked here."""


def spans(page):
    """Return what is between backquotes, outside of blocks."""
    return SPANS.findall(FENCED.sub("", page.read_text()))


def lines(page):
    """Return the lines of a page that a reader may run: of its blocks, and between backquotes."""
    text = page.read_text()
    for _, language, block in FENCED.findall(text):
        shown = block.splitlines() if language in SHELLS else []
        prompted = [line.removeprefix("$ ") for line in shown if line.startswith("$ ")]
        yield from prompted or shown
    for span in spans(page):
        if span.split(" ")[0] in {*PROGRAMS, *OTHERS} and " " in span and "(" not in span:
            yield span


def commands(page):
    """Return the commands of a page, as words, the program first."""
    for line in lines(page):
        split = shlex.shlex(re.sub(r"\$\([^)]*\)", "VALUE", line), posix=True, punctuation_chars="|;&>")
        split.whitespace_split = True
        words = list(takewhile(lambda word: not set(word) <= set("|;&>…"), split))
        words = list(
            dropwhile(lambda word: ASSIGNMENT.match(word) or word in {"env", "export", "VALUE"}, words)
        )
        if words:
            yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


@pytest.mark.filterwarnings("ignore:The parameter -d is used more than once")  # by Celery
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_command_of_a_page_is_one_of_its_program(page):
    """Subcommands, options, targets, modules, extras, services and files on a page exist under that name."""
    for program, *words in commands(page):
        paths = re.findall(r"\b(?:deploy|examples|benchmarks|tests)/[\w./-]+", " ".join(words))
        assert [path for path in paths if not (ROOT / path).exists()] == []
        assert program in PROGRAMS or program in OTHERS, program
        if program in PROGRAMS and words:
            try:
                PROGRAMS[program](words)
            except click.ClickException as exc:
                pytest.fail(f"{program} {shlex.join(words)}: {exc.format_message()}")


def test_the_pages_have_commands():
    """The commands are found: these are on the pages."""
    found = {" ".join(words[:3]) for page in PAGES for words in commands(page)}

    assert found >= {"make deploy-core ID=demo", "pipeline dlq show", "docker compose up", "celery -A shop"}


CELERY = {name for name, _ in flatten(NAMESPACES)}
PREFIXES = {name for name, value in NAMESPACES.items() if isinstance(value, dict)} | {"claimcheck"}
IN_ANSWERS = {"worker_pid"}
"""What looks like a setting, and is a name in an answer of ``celery inspect``."""
SETTING = re.compile(rf"\b((?:{'|'.join(PREFIXES)})_[a-z_]+)\b", re.IGNORECASE)


def words_of_code():
    """Return each name of this repository's own code, templates and configuration."""
    found = set()
    for folder in ("pipeline", "tasks", "deploy", "examples"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".yaml", ".json", ".mk"}:
                found.update(re.findall(r"\w+", path.read_text()))
    return found | set(
        re.findall(r"\w+", (ROOT / "settings.py").read_text() + (ROOT / "pyproject.toml").read_text())
    )


def test_each_setting_of_a_page_exists():
    """What looks like a setting is one of Celery's, or a name of this repository's code."""
    known = {name.lower() for name in CELERY | words_of_code()}
    known |= {f"celery_{name.lower()}" for name in known} | {f"claimcheck_{name}" for name in known}
    unknown = {
        (str(page.relative_to(ROOT)), name)
        for page in PAGES
        for span in spans(page)
        for name in SETTING.findall(span)
        if name.lower() not in known | IN_ANSWERS
    }

    assert unknown == set()
