"""``pipeline doctor`` as a whole: its commands, its output, its settings and remote control."""

import pytest
from click.testing import CliRunner
from doctor_sample import RULE, HealthySample, examine, fix, ill, sooner

from pipeline.cli.main import main

pytestmark = pytest.mark.aws

DENIED = b"<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code></Error></ErrorResponse>"


def test_a_healthy_sample(healthy):
    """A healthy setup passes every check, exits with 0, and leaves no object behind."""
    code, checks = examine()

    assert (code, ill(checks)) == (0, [])
    assert all(check["ok"] and not check["fix"] for check in checks.values())
    assert checks["payload client"]["detail"] == "obstore"
    assert healthy.sample.objects() == []


def test_settings_that_were_overwritten(healthy):
    """A serializer that was set after install is a finding."""
    healthy.sample.app.conf.task_serializer = "json"

    assert ill(examine()[1]) == ["task_serializer"]


def test_other_brokers_and_stores_are_checked_as_far_as_they_can_be(sample_of):
    """Another broker or store is checked where possible, and the other checks are unknown."""
    sample_of(broker="memory://", store="memory://doctor")
    code, checks = examine()

    assert (code, checks["queues"]["ok"]) == (0, None)
    assert [name for name in checks if name.startswith("store: ")] == [
        "store: list", "store: put", "store: get", "store: delete"
    ]  # fmt: skip
    assert not {"credentials", "bucket", "s3:PutObject"} & checks.keys()


def test_people_get_marks_and_fixes(healthy):
    """Without --json each check has a mark, and each finding its fix below the table."""
    healthy.s3.delete_bucket_lifecycle(Bucket=healthy.bucket)
    result = CliRunner().invoke(main, ["-A", "sample_app", "doctor"])

    assert result.exit_code == 1
    assert "✓  credentials" in result.stdout
    assert "✗  lifecycle rule" in result.stdout
    assert "to fix lifecycle rule:" in result.stdout


def test_the_command_for_a_lifecycle_rule_can_be_pasted(healthy, moto_aws):
    """The command adds the rule for payloads, and keeps every other rule of the bucket."""
    theirs = {**RULE, "ID": "theirs", "Filter": {"Prefix": "other/"}, "Expiration": {"Days": 1}}
    too_short = {**RULE, "Expiration": {"Days": 2}}
    healthy.rules(theirs, too_short)
    checks = examine()[1]
    fixed = fix(checks, "lifecycle rule", moto_aws)
    kept = healthy.s3.get_bucket_lifecycle_configuration(Bucket=healthy.bucket)["Rules"]

    assert checks["lifecycle rule"]["detail"] == "expires after 2 days"
    assert (fixed["ok"], fixed["detail"]) == (True, "expires after 35 days")
    assert {rule["ID"] for rule in kept} > {"theirs", "payloads", "once", "revoked", "handles-7d"}
    assert kept[0] == theirs


def test_a_rule_of_others_has_no_command(healthy):
    """A conflicting lifecycle rule gets a fix in words, and no command that would replace it."""
    healthy.rules(RULE, sooner("claims/"))
    check = examine()[1]["lifecycle rule"]

    assert (check["ok"], check["command"]) == (False, "")
    assert check["fix"].startswith("another rule expires payloads sooner: raise it to 35 days")


def test_the_commands_for_a_queue_can_be_pasted(healthy, moto_aws):
    """A missing dead-letter queue is made and named, and retentions are set."""
    name = healthy.queue
    healthy.change(RedrivePolicy="")
    healthy.sqs.delete_queue(QueueUrl=healthy.dead_url)
    dead = fix(examine()[1], f"dead letters of {name}", moto_aws)
    healthy.sqs.set_queue_attributes(
        QueueUrl=moto_aws.url_of(f"{name}-dlq"), Attributes={"MessageRetentionPeriod": "60"}
    )
    retention = fix(examine()[1], f"retention of {name}", moto_aws)

    assert (dead["ok"], dead["detail"]) == (True, f"{name}-dlq after 5 receives")
    assert (retention["ok"], retention["detail"]) == (True, "4 days, then 14")


def test_a_fifo_queue_gets_fifo_dead_letters(sample_of, moto_aws):
    """The command for a FIFO queue makes a dead-letter queue that SQS takes for it."""
    sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf={"task_default_queue": "orders.fifo"})
    moto_aws.queue("orders.fifo", FifoQueue="true")

    assert fix(examine()[1], "dead letters of orders.fifo", moto_aws)["detail"].startswith("orders-dlq.fifo ")


class TestRemoteControl:
    """The doctor sends a ping to the workers, as monitors do."""

    @pytest.fixture
    def watched(self, sample_of, moto_aws, proxy):
        """A healthy sample whose workers receive remote control commands."""
        store = f"s3://{moto_aws.bucket()}/claims"
        options = {"wait_time_seconds": 1, "polling_interval": 0.1}
        sample = sample_of(
            store=store, conf={"worker_enable_remote_control": True, "broker_transport_options": options}
        )
        return HealthySample(sample, moto_aws)

    def test_workers_are_counted(self, watched):
        """Remote control is unknown without a worker and ok with one, and leaves no reply queue behind."""
        _, alone = examine()
        watched.sample.worker(pool="threads")
        _, answered = examine()
        watched.sample.app.pool.force_close_all()

        assert alone["remote control"]["ok"] is None
        assert answered["remote control"]["detail"] == "workers that answered: 1"
        assert answered["remote control"]["ok"] is True

    def test_what_is_denied_is_found(self, watched, proxy):
        """Without permission for SNS, the sentence says so, and the fix leads on."""
        proxy.fail("CreateTopic", status=403, content=DENIED)
        code, checks = examine()

        assert code == 1
        assert ill(checks) == ["remote control"]
        assert "sns:CreateTopic" in checks["remote control"]["detail"]
        assert "docs/operate/monitoring.md" in checks["remote control"]["fix"]

    def test_wrong_sqs_credentials_are_findings(self, watched, proxy):
        """Credentials that SQS rejects are findings, and every other check still runs."""
        proxy.fail("ListQueues", status=403, content=b'{"__type": "InvalidClientTokenId"}')
        code, checks = examine()

        assert code == 1
        assert ill(checks) == ["queues", "remote control"]
        assert "InvalidClientTokenId" in checks["remote control"]["detail"]
        assert "credentials" in checks["remote control"]["fix"]


def test_a_misnamed_setting_is_found(healthy):
    """A setting that nothing reads is a finding, which names the one that is read."""
    healthy.sample.app.conf.transport_options = {"visibility_timeout": 1_800}
    code, checks = examine()

    assert (code, ill(checks)) == (1, ["setting transport_options"])
    assert checks["setting transport_options"]["fix"] == "rename it to broker_transport_options"
