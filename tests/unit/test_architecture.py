"""The architecture: layers, vendors, errors, and the form of modules and tests."""

import ast
import importlib
import pickle
from pathlib import Path

import pytest

from pipeline import errors

ROOT = Path(__file__).parents[2]

LAYERS = [
    ["aws_codes", "aws_limits", "undo"],
    ["aws", "aws_logs", "errors", "options", "sizes"],
    ["log_lines"],
    ["claim", "compression", "wire", "store", "metrics"],
    ["arguments", "codec", "log_fields", "once", "publication", "soft_time_limit"],
    ["tracing"],
    ["claimcheck", "stores", "cloudwatch", "emf", "otel"],
    ["attempt", "links", "deferred", "time_chain", "testing"],
    ["results", "revocations"],
    ["encoding"],
    ["serializer", "transport"],
    ["queues", "validation"],
    ["publisher", "worker", "backend", "control", "idempotency"],
    ["installation", "entry_point"],
    ["local", "operations"],
    ["commands"],
    ["cli"],
    ["__main__"],
]
"""Top-level modules and packages, lowest layer first. A module imports only from layers below its own."""

VENDORS = {
    "celery": {
        "operations",
        "deferred",
        "serializer",
        "publisher",
        "time_chain",
        "soft_time_limit",
        "validation",
        "installation",
        "worker",
        "results",
        "revocations",
        "control",
        "backend",
        "commands",
        "idempotency",
    },
    "kombu": {
        "entry_point",
        "operations",
        "publisher",
        "serializer",
        "transport",
        "installation",
        "idempotency",
        "worker",
    },
    "billiard": {"worker"},
    "boto3": {"stores", "cloudwatch"},
    "botocore": {"aws", "operations", "queues", "stores", "cloudwatch", "transport"},
    "moto": {"local"},
    "opentelemetry": {"otel", "tracing"},
}
"""Which modules and packages may import which vendor."""


def modules():
    return sorted((ROOT / "pipeline").rglob("*.py"))


def package(path):
    return path.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "pipeline":
                yield from (f"pipeline.{alias.name}" for alias in node.names)
            else:
                yield node.module


def layer(name):
    return next(height for height, names in enumerate(LAYERS) if name in names)


@pytest.mark.parametrize("path", modules(), ids=package)
def test_imports_run_downwards(path):
    """A module imports from its own package or from layers below, and never tasks or settings."""
    if package(path) == "__init__":
        return
    for name in imports(path):
        top, _, rest = name.partition(".")
        assert top not in {"tasks", "settings", "tests"}
        if top == "pipeline" and rest.split(".")[0] != package(path):
            assert layer(rest.split(".")[0]) < layer(package(path)), f"{package(path)} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=package)
def test_vendors_stay_in_their_modules(path):
    """Concepts import no vendor, and few modules import each vendor."""
    for name in imports(path):
        allowed = VENDORS.get(name.split(".")[0])
        assert allowed is None or package(path) in allowed, f"{package(path)} imports {name}"


def every_error():
    found = [errors.PipelineError]
    for each in found:
        found.extend(each.__subclasses__())
    return found


@pytest.mark.parametrize("error", every_error())
def test_errors_survive_pickling(error):
    """Every error crosses the pool's pipe with its class, its text and its verdict."""
    copy = pickle.loads(pickle.dumps(error("what happened [key=k]: why; what to do")))

    assert type(copy) is error
    assert str(copy) == "what happened [key=k]: why; what to do"
    assert copy.retryable is error.retryable


def test_two_errors_are_worth_a_retry():
    """Only an unavailable store and a call in progress are retryable."""
    retryable = {errors.StoreUnavailableError, errors.TaskInProgressError}

    assert {error for error in every_error() if error.retryable} == retryable


def test_the_tree_of_errors_is_drawn():
    """The docstring of ``errors`` draws every error."""
    assert all(error.__name__ in errors.__doc__ for error in every_error())


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.stem)
def test_every_test_states_its_rule(path):
    """A test's docstring is one sentence: the specification that it guards."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert (ast.get_docstring(node) or "").endswith("."), f"{path.name}: {node.name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.name))
def test_modules_stay_small(path):
    """A file above 300 lines holds more than one concept."""
    assert len(path.read_text().splitlines()) <= 300


def test_every_module_imports():
    """No module needs another to have been imported first."""
    for path in modules():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if not name.endswith("__main__"):
            importlib.import_module(name.removesuffix(".__init__"))
