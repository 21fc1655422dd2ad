"""The examples of doors run, and say what they did."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PRINTED = {
    "doors_s3_notifications": "ObjectCreated:Put 'input/this im + age blah.txt': 1,000 lines, 7,000 bytes\n",
    "doors_plain_claims": "input/numbers.txt: 499,500 EUR\nthe file is still there: ['input/numbers.txt']\n",
    "doors_extended_client": (
        "objects of the client: 1\n"
        "'a large order': 1,000,000 characters\n'a small order': 13 characters\nobjects left: 0\n"
    ),
    "doors_fifo": ("cellar: [9.0, 9.1]\nkitchen: [21.5, 21.7, 21.9]\ndead letters: ['kitchen warm']\n"),
    "sns_fanout": (
        "invoice for order-1: 20,000 lines\nrefund of order-3: 250 EUR\n"
        "payloads in S3: 1, until their lifecycle rule\n"
    ),
    "eventbridge": (
        "OrderCreated order-1: 100,000 lines, 2,500 EUR\nOrderCreated order-3: 1 lines, 1,500 EUR\n"
        "payloads in S3: 2, until their lifecycle rule\n"
    ),
}


@pytest.mark.aws
@pytest.mark.parametrize("name", PRINTED)
def test_the_example_of_a_door_runs(name):
    """Others send, a task reads what they have put into S3, and the page's promises hold."""
    program = [sys.executable, "-m", f"examples.{name}"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout == PRINTED[name]
