"""Tills: shops with the tasks that must not run twice; fixtures and helpers for their tests."""

import importlib
import re
import sys

import pytest

__all__ = ["POOLS", "RESULT_KEPT", "records", "returned", "till_of", "worker"]

POOLS = ["prefork", "threads", "solo"]
RESULT_KEPT = "stored result returned"


@pytest.fixture
def till_of(shop_of):
    """Make a till: a shop with the tasks that must not run twice."""

    def make(**options):
        shop = shop_of(**options)
        sys.modules.pop("till", None)
        shop.till = importlib.import_module("till")
        return shop

    yield make
    sys.modules.pop("till", None)


def worker(shop, pool="threads", **options):
    return shop.worker(app="till", pool=pool, **options)


def returned(*workers):
    """Return what deliveries returned, as the workers' logs show it, in order."""
    text = "".join(each.text() for each in workers)
    return re.findall(r"succeeded in [\d.]+s: (.+)", text)


def records(shop):
    return [key for key in shop.objects() if "once/v1/" in key]
