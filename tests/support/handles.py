"""Handles that tests make, and the content that they name."""

import random

import pipeline
from pipeline.claimcheck.handles.streams import PART_BYTES

BIG = random.Random(3).randbytes(2 * PART_BYTES + 5)
OWN = "claims/handles/7d/v1/0a/2026/11/26/" + "0a" * 20


def handle_of(**fields):
    return pipeline.Handle(**{"store": "default", "key": OWN, **fields})
