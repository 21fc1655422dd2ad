"""idempotent apps: samples with the tasks that must not run twice; fixtures and helpers for their tests."""

import importlib
import re
import sys

import pytest

__all__ = ["POOLS", "RESULT_KEPT", "idempotent_sample_of", "records", "returned", "worker"]

POOLS = ["prefork", "threads", "solo"]
RESULT_KEPT = "stored result returned"


@pytest.fixture
def idempotent_sample_of(sample_of):
    """Make an idempotent app: a sample with the tasks that must not run twice."""

    def make(**options):
        sample = sample_of(**options)
        sys.modules.pop("idempotent_app", None)
        sample.idempotent_app = importlib.import_module("idempotent_app")
        return sample

    yield make
    sys.modules.pop("idempotent_app", None)


def worker(sample, pool="threads", **options):
    return sample.worker(app="idempotent_app", pool=pool, **options)


def returned(*workers):
    """Return what deliveries returned, as the workers' logs show it, in order."""
    text = "".join(each.text() for each in workers)
    return re.findall(r"succeeded in [\d.]+s: (.+)", text)


def records(sample):
    return [key for key in sample.objects() if "once/v1/" in key]
