"""The architecture: layers and vendors as ``pipeline/__init__.py`` draws them, and the form of modules."""

import ast
import importlib
import pickle
from functools import cache
from pathlib import Path

import pytest

import pipeline
from pipeline import errors

ROOT = Path(__file__).parents[2]

SMALL = ("pipeline", "tasks", "benchmarks", "tests")
"""Folders whose files are all small."""

VENDORS = {"billiard", "boto3", "botocore", "celery", "kombu", "moto", "opentelemetry", "starlette"}


def drawn():
    """Return the layers that ``pipeline/__init__.py`` draws, top first: each package with its vendors."""
    table = pipeline.__doc__[pipeline.__doc__.index("name   ") :].splitlines()[2:]
    layers = [{}]
    for row in table:
        if row.startswith("==="):
            return layers
        if row.startswith("---"):
            layers.append({})
        else:
            layers[-1][row[:12].strip()] = set(row[14:43].split())
    raise AssertionError("the table has no end")


LAYERS = drawn()


def modules():
    return sorted((ROOT / "pipeline").rglob("*.py"))


def package(path):
    return path.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py")


@cache
def imports(path):
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "pipeline":
            found += [f"pipeline.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module)
    return found


def layer(name):
    return next(height for height, names in enumerate(reversed(LAYERS)) if name in names)


@pytest.mark.parametrize("path", modules(), ids=package)
def test_imports_run_downwards(path):
    """A module imports from its own package or from layers below, and never tasks or settings."""
    for name in imports(path):
        top, _, rest = name.partition(".")
        assert top not in {"tasks", "settings", "tests"}
        if top == "pipeline" and rest.split(".")[0] != package(path) != "__init__":
            assert layer(rest.split(".")[0]) < layer(package(path)), f"{package(path)} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=package)
def test_vendors_stay_in_their_packages(path):
    """A package imports the vendors alone that its row of the table names."""
    allowed = {name: vendors for each in LAYERS for name, vendors in each.items()}.get(package(path), set())
    found = {name.split(".")[0] for name in imports(path)} & VENDORS

    assert found <= allowed


def test_the_table_is_complete():
    """Each module and package at the top has its row, and no row says more than is there."""
    named = {name: vendors for each in LAYERS for name, vendors in each.items()}
    found = {package(path): set() for path in modules() if package(path) != "__init__"}
    for path in modules():
        if package(path) != "__init__":
            found[package(path)] |= {name.split(".")[0] for name in imports(path)} & VENDORS

    assert found == named


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


def test_test_modules_have_unique_names():
    """Pytest imports test modules by name alone, so no two folders have one of the same name."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]

    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("folder", SMALL)
def test_modules_stay_small(folder):
    """A file above 300 lines holds more than one concept."""
    long = [path.name for path in (ROOT / folder).rglob("*.py") if len(path.read_text().splitlines()) > 300]

    assert long == []


def test_every_module_imports():
    """No module needs another to have been imported first."""
    for path in modules():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if not name.endswith("__main__"):
            importlib.import_module(name.removesuffix(".__init__"))
