"""The policies that scale workers, as the templates ship them: decisions, and a simulated load."""

import json

import numpy as np
import pytest

from benchmarks.scaling import report
from benchmarks.scaling.day import AWAKE_SECONDS, Simulation
from benchmarks.scaling.policies import Keda, Tracking, backlog_alone, held
from tasks.demo.scaling.shipped import scaling, sweep_seconds
from tasks.demo.scaling.tracking import HIGH_PERIODS, LOW_PERIODS, Reading, TargetTracking

SHIPPED = scaling(BacklogPerWorker=50, BusyShare=0.8, Concurrency=2, MinWorkers=0, MaxWorkers=10)
HOUR_SECONDS = 3_600


def after(policy, reading, periods, workers):
    """Return the workers after periods with the same reading."""
    for _ in range(periods):
        workers = policy.wanted(reading, workers)
    return workers


@pytest.fixture
def policy():
    return TargetTracking(SHIPPED)


def test_the_page_has_the_tables_that_were_simulated():
    """The tables of docs/howto/scaling.md are those of the last run."""
    text = report.PAGE.read_text()

    assert text == report.page(text, json.loads(report.RESULTS.read_text()))


def test_a_backlog_multiplies_workers(policy):
    """Three periods above the target scale out in proportion, up to the most."""
    full = Reading(waiting=130, hidden=4, slots=4)

    assert after(policy, full, HIGH_PERIODS - 1, workers=2) == 2
    assert policy.wanted(full, 2) == 6
    assert after(TargetTracking(SHIPPED), Reading(10_000, 4, 4), HIGH_PERIODS, workers=2) == 10


def test_a_queue_has_a_backlog_of_its_own():
    """A queue in the mapping has its own messages for each worker, and any other those of the parameter."""
    given = {"BacklogPerWorker": 7, "Backlogs": {"bulk": {"PerWorker": 500}}}

    assert scaling("bulk", **given).metric.startswith("(waiting / 500 + ")
    assert scaling("default", **given).metric.startswith("(waiting / 7 + ")
    assert scaling("default").metric == SHIPPED.metric


def test_workers_that_start_are_not_started_again(policy):
    """Until the cooldown is over, workers that have not reported yet count as part of what is needed."""
    full = Reading(waiting=130, hidden=4, slots=4)
    workers = after(policy, full, HIGH_PERIODS, workers=2)

    assert after(policy, full, SHIPPED.out_cooldown_periods - 1, workers) == workers == 6


def test_an_empty_queue_gets_no_worker(policy):
    """Fifteen periods without a message scale to none, and not one period earlier."""
    empty = Reading(0, 0, 6)

    assert after(policy, empty, LOW_PERIODS - 1, workers=3) == 3
    assert policy.wanted(empty, 3) == 0


def test_the_last_worker_stays_while_it_runs_a_task(policy):
    """A message in flight keeps one worker, however long."""
    assert after(policy, Reading(0, 1, 6), 10 * LOW_PERIODS, workers=3) == 1


def test_a_message_starts_the_first_worker(policy):
    """Where no worker has reported, a message that waits starts one, and no second while that one starts."""
    alone = Reading(1, 0, None)

    assert policy.wanted(alone, 0) == 1
    assert after(policy, alone, SHIPPED.first_cooldown_periods - 1, workers=1) == 1


def test_a_lost_report_stops_no_worker(policy):
    """A period without a report of slots, as CloudWatch has them now and then, stops none of ten workers."""
    after(policy, Reading(0, 16, 20), LOW_PERIODS, workers=10)

    assert policy.wanted(Reading(5, 16, None), 10) == 10


def test_no_metric_changes_nothing(policy):
    """As long as SQS sends no metrics, workers stay as they are."""
    assert after(policy, Reading(None, None, None), 2 * LOW_PERIODS, workers=4) == 4


def simulated(policy, rate, hours, seed=1):
    """Return what happens with as many tasks a second, of two seconds each."""
    arrived = np.random.default_rng(seed).poisson(rate, int(hours * HOUR_SECONDS))
    return Simulation(arrived, 2.0, 2, policy).run()


def test_a_steady_load_has_steady_workers():
    """At 4 tasks a second, of 2 seconds each, workers settle: no backlog, and few changes."""
    day = simulated(Tracking(), 4.0, 3)
    settled = day.workers[HOUR_SECONDS:]

    assert 4 < settled.mean() < 9
    assert day.waiting[HOUR_SECONDS:].max() < 100
    assert (np.diff(settled) != 0).sum() <= 10


def test_backlog_alone_comes_and_goes():
    """With the same load, a policy that sees only messages that wait stops workers and starts them again."""
    day = simulated(Tracking(backlog_alone()), 4.0, 3)

    assert day.waiting[HOUR_SECONDS:].max() > 500
    assert day.workers[HOUR_SECONDS:].min() <= 2
    assert day.workers[HOUR_SECONDS:].max() >= 8


def test_a_trickle_after_a_peak_needs_one_worker():
    """What the peak needed goes when a task a minute is left; a policy that holds all keeps them."""
    arrived = np.zeros(2 * HOUR_SECONDS, int)
    arrived[:60] = 50
    arrived[60::5] = 1

    assert Simulation(arrived, 4.0, 2, Tracking()).run().workers[-1] == 1
    assert Simulation(arrived, 4.0, 2, Tracking(held())).run().workers[-1] == 10


@pytest.mark.parametrize("policy", [Tracking, Keda])
def test_a_batch_ends_and_its_workers_go(policy):
    """A batch starts workers from none, all of it runs, and no worker is left."""
    arrived = np.zeros(HOUR_SECONDS, int)
    arrived[0] = 3_000
    day = Simulation(arrived, 2.0, 2, policy()).run()

    assert day.workers.max() == 10
    assert day.begun[-1] == 3_000
    assert (day.waiting[-1], day.workers[-1]) == (0, 0)


def test_the_sweep_keeps_queues_awake():
    """Something asks for each queue before SQS stops its metrics."""
    assert sweep_seconds() + HOUR_SECONDS < AWAKE_SECONDS
