"""Chaos, in short: what ``make chaos`` does with 5,000 tasks, with some."""

import chaos
import pytest
from standins import AWS

pytestmark = [pytest.mark.aws, pytest.mark.worker, pytest.mark.timeout(600)]


def test_nothing_is_lost_or_leaked(ministack, tmp_path):
    """While processes are killed and calls fail, every task ends as it should, and the store is empty."""
    ministack.reset()
    report = chaos.run(AWS(ministack.name, ministack.url), tmp_path, tasks=120, seed=7)

    assert report.lost == []
    assert report.wrong == []
    assert report.missing == 0
    assert (report.messages, report.dead_letters, report.after_sweep) == (0, 0, 0)
    assert 0 < report.together < 120
    assert report.kills.total() > 3
    assert report.faults.total() > 10
    assert report.is_ok, report.table()
