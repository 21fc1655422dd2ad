"""Tasks that end the process that runs them: a recorded failure in the end, and explained."""

import json

import pytest
from celery.exceptions import WorkerLostError
from click.testing import CliRunner
from envelopes import DEAD_SOON
from workers import eventually

from pipeline.admin import received_messages
from pipeline.cli.main import main

pytestmark = [pytest.mark.aws, pytest.mark.worker]


@pytest.fixture
def sample(sample_of, moto_aws, monkeypatch):
    """A sample whose messages are dead letters after two deliveries."""
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)
    store = f"s3://{moto_aws.bucket()}/claims"
    conf = {"broker_transport_options": DEAD_SOON}
    return sample_of(store=store, options={"threshold_bytes": 0}, conf=conf)


def test_a_task_that_kills_its_process_is_a_failure_in_the_end(sample, moto_aws):
    """The last delivery records FAILURE and calls errbacks; the payload stays, and dlq show says why."""
    sample.worker(pool="prefork")
    result = sample.exit_process.apply_async((1,), link_error=sample.errback.s())
    with pytest.raises(
        WorkerLostError, match=r"delivered 2 times without an end .*probably kills its worker"
    ):
        result.get(timeout=60)
    eventually(lambda: sum(moto_aws.depth(f"{sample.queue}-dlq")) == 1, 60)
    said = CliRunner().invoke(main, ["-A", "sample_app", "dlq", "show", "--json"])
    [dead_letter] = json.loads(said.stdout)["messages"]

    assert sample.notes() == ["exiting", "exiting", f"errback {result.id} WorkerLostError"]
    assert dead_letter["error"].startswith("delivered 2 times without an end")
    assert (dead_letter["result"], dead_letter["payload_there"]) == ("FAILURE", True)
    assert len(sample.objects()) == 1
    assert sample.echo.delay("y").get(timeout=60) == "y"
