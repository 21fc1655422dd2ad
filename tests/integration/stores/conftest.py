"""pytest rewrites the assertions of the rules that every store keeps, which are in a support module."""

import gc
from io import BytesIO

import pytest

pytest.register_assert_rewrite("store_rules", "ledger_rules")


@pytest.fixture
def _no_view_left():
    """Fail a test that leaves a view of a payload to the garbage collector: Python 3.12.1 crashes then."""
    gc.collect()
    gc.disable()
    before = _views_count()
    try:
        yield
        assert _views_count() <= before
    finally:
        gc.enable()


def _views_count():
    return sum(isinstance(each, memoryview) and _is_held(each) for each in gc.get_objects())


def _is_held(view):
    try:
        return type(view.obj) is type(BytesIO().getbuffer().obj)
    except ValueError:  # released
        return False
