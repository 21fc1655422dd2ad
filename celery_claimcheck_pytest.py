"""The pytest plugin: ``claimcheck_app`` sends a test's tasks through a broker and a store in memory.

pytest imports this module in every environment that has this library installed, so it imports nothing else
until a test asks for the fixture: neither Celery nor ``pipeline``, which may be a module of the user's.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pipeline.testing.memory_app import ClaimCheckApp

NO_APP = (
    "claimcheck_app needs a fixture celery_app that returns your Celery app: write one in conftest.py, or "
    "take Celery's with -p celery.contrib.pytest"
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "claimcheck(**options): options of pipeline.install for claimcheck_app, in one test"
    )


@pytest.fixture(scope="session")
def claimcheck_options() -> Mapping[str, Any]:
    """Override this fixture to choose options of ``pipeline.install`` for ``claimcheck_app``."""
    return {}


@pytest.fixture
def claimcheck_app(
    request: pytest.FixtureRequest, claimcheck_options: Mapping[str, Any]
) -> "Iterator[ClaimCheckApp]":
    """Your Celery app, as fixture ``celery_app`` returns it, in memory: see docs/howto/testing.md."""
    from celery_claimcheck_entry_point import check_name  # noqa: PLC0415 - see above

    check_name()
    from pipeline.testing.memory_app import in_memory  # noqa: PLC0415 - see above

    marker = request.node.get_closest_marker("claimcheck")
    with in_memory(
        _celery_app(request), **{**claimcheck_options, **(marker.kwargs if marker else {})}
    ) as made:
        yield made


def _celery_app(request: pytest.FixtureRequest) -> Any:
    try:
        return request.getfixturevalue("celery_app")
    except pytest.FixtureLookupError as exc:
        if exc.argname != "celery_app":
            raise
        raise LookupError(NO_APP) from None
