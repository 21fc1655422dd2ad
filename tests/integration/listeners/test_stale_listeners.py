"""``pipeline sweep`` removes listeners' queues that no process renews."""

import json
from time import time

import pytest
from click.testing import CliRunner
from listening import listen, opened, queues, subscriptions

from pipeline.cli.main import main
from pipeline.transport.fanout.listeners import RENEWED

pytestmark = pytest.mark.aws


class TestSweep:
    def run(self, *words):
        result = CliRunner().invoke(main, ["-A", "sample_app", "sweep", "--json", *words])
        return result.exit_code, json.loads(result.stdout)

    def test_dead_listeners_are_swept(self, sample, moto_aws):
        """The sweep reports and removes a listener's queue that is not renewed, and keeps the others."""
        with opened() as connection:
            listen(connection, "celeryev.dead")
            listen(connection, "celeryev.alive")
            dead = next(url for url in queues(moto_aws) if "dead" in url)
            moto_aws.client("sqs").tag_queue(QueueUrl=dead, Tags={RENEWED: str(time() - 1_000)})
            code, said = self.run()
            assert (code, said["listeners"], said["stale_listeners"], said["removed_listeners"]) == (
                1,
                2,
                1,
                0,
            )
            code, said = self.run("--delete")

            assert (code, said["removed_listeners"]) == (0, 1)
            assert len(queues(moto_aws)) == len(subscriptions(moto_aws)) == 1
            assert "alive" in queues(moto_aws)[0]

    def test_subscriptions_of_lost_queues_are_swept(self, sample, moto_aws):
        """The sweep removes a subscription whose queue was deleted."""
        with opened() as connection:
            listen(connection, "celeryev.lost")
            listen(connection, "celeryev.alive")
            lost = next(url for url in queues(moto_aws) if "lost" in url)
            moto_aws.client("sqs").delete_queue(QueueUrl=lost)
            code, said = self.run("--delete")

            assert (code, said["stale_listeners"], said["removed_listeners"]) == (0, 1, 1)
            assert len(subscriptions(moto_aws)) == 1

    def test_a_sweep_that_may_not_look_sweeps_payloads(self, sample, moto_aws, proxy):
        """Without permission for listeners, their sweep says so, and the rest is done."""
        denial = b'{"__type":"com.amazonaws.sqs#AccessDenied","message":"no"}'
        proxy.fail("ListQueueTags", status=403, content=denial)
        with opened() as connection:
            listen(connection)
            code, said = self.run()

        assert (code, said["listeners_error"]) == (0, "AccessDenied")
