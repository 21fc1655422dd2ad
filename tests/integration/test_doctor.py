"""The doctor: each thing that can be wrong is found by its own check, with its fix."""

import json
import shlex
from datetime import datetime, timedelta

import pytest
from click.testing import CliRunner

from pipeline import put
from pipeline.admin import bucket
from pipeline.cli.main import main
from pipeline.serializer import serializer

pytestmark = pytest.mark.aws

ARN = "arn:aws:sqs:eu-west-1:123456789012:"
DENIED = b"<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code></Error></ErrorResponse>"
RULE = {"ID": "payloads", "Status": "Enabled", "Filter": {"Prefix": "claims/"}, "Expiration": {"Days": 35}}

RESULTS = {**RULE, "ID": "results", "Filter": {"Prefix": "claims/results/"}, "Expiration": {"Days": 1}}


def examine():
    """Run the command in this process, and return its exit code and its checks by name."""
    result = CliRunner().invoke(main, ["-A", "sample_app", "doctor", "--json"])
    return result.exit_code, {check["name"]: check for check in json.loads(result.stdout)["checks"]}


def sooner(prefix):
    """Return a rule for some objects of a prefix, which ends them after a day."""
    some = {"Prefix": prefix, "Tags": [{"Key": "a", "Value": "b"}]}
    return {**RULE, "ID": "sooner", "Filter": {"And": some}, "Expiration": {"Days": 1}}


def ill(checks):
    return sorted(name for name, check in checks.items() if check["ok"] is False)


class House:
    """Everything that the sample needs, as it should be."""

    def __init__(self, sample, aws):
        self.sample, self.aws = sample, aws
        self.sqs, self.s3 = aws.client("sqs"), aws.client("s3")
        self.queue = sample.queue
        self.bucket = serializer.installed().store.bucket
        self.dead_url = aws.queue(f"{self.queue}-dlq", MessageRetentionPeriod=14 * 86_400)
        policy = json.dumps({"deadLetterTargetArn": f"{ARN}{self.queue}-dlq", "maxReceiveCount": 5})
        self.url = aws.queue(self.queue, RedrivePolicy=policy, VisibilityTimeout=1_800)
        self.rules(RULE)

    def rules(self, *rules):
        self.s3.put_bucket_lifecycle_configuration(
            Bucket=self.bucket, LifecycleConfiguration={"Rules": list(rules)}
        )

    def change(self, **attributes):
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes=attributes)


@pytest.fixture
def house(sample, moto_aws):
    """A healthy sample."""
    return House(sample, moto_aws)


def test_a_healthy_house(house):
    """Where all is well, every check says so, the exit code is 0, and no object is left behind."""
    code, checks = examine()

    assert (code, ill(checks)) == (0, [])
    assert all(check["ok"] and not check["fix"] for check in checks.values())
    assert house.sample.objects() == []


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("PutObject", "s3:PutObject"),
        ("GetObject", "s3:GetObject"),
        ("DeleteObjects", "s3:DeleteObject"),
        ("ListObjectsV2", "s3:ListBucket"),
    ],
)
def test_each_permission_is_checked(house, proxy, operation, action):
    """A permission that is missing is named, alone, with the policy that grants it."""
    proxy.fail(operation, status=403)
    code, checks = examine()

    assert (code, ill(checks)) == (1, [action])
    assert f"allow {action}" in checks[action]["fix"]


def test_wrong_credentials_are_one_finding(house, proxy):
    """Credentials that S3 does not know are said once, and not for each permission."""
    answer = b"<Error><Code>InvalidAccessKeyId</Code></Error>"
    for operation in ("PutObject", "GetObject", "DeleteObjects", "ListObjectsV2"):
        proxy.fail(operation, status=403, content=answer)
    _, checks = examine()

    assert ill(checks) == ["credentials"]


def test_missing_credentials_are_one_finding(sample_of, moto_aws, monkeypatch):
    """A process without credentials has them to find, and neither network nor permissions."""
    sample_of(
        store=f"s3://{moto_aws.bucket()}/claims", broker="memory://", options={"store_retry_seconds": 1}
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    code, checks = examine()

    assert (code, ill(checks)) == (1, ["credentials"])
    assert checks["credentials"]["fix"].startswith("give this process credentials: aws configure")
    assert not {"store", "bucket", "s3:PutObject"} & checks.keys()


def test_a_store_that_does_not_answer_is_one_finding(sample_of, moto_aws, monkeypatch):
    """Where nobody answers, nothing is known of credentials, bucket and permissions, and nothing is said."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    sample = sample_of(store="s3://somewhere/claims")
    moto_aws.queue(sample.queue)
    code, checks = examine()

    assert (code, ill(checks)) == (1, [f"dead letters of {sample.queue}", "store"])
    assert checks["store"]["fix"].startswith("the store did not answer: check network, proxy, region")
    assert not {"credentials", "bucket", "s3:PutObject"} & checks.keys()


@pytest.mark.parametrize(
    ("status", "code", "name", "fix"),
    [
        (403, "RequestTimeTooSkewed", "store", "set this machine's clock:"),
        (503, "SlowDown", "store", "none on this side: S3 answered that it cannot serve now"),
        (301, "PermanentRedirect", "region", "give this process the bucket's own region"),
        (403, "SignatureDoesNotMatch", "credentials", "S3 rejected them: check key, secret"),
    ],
)
def test_what_s3_answers_has_its_own_fix(house, proxy, monkeypatch, status, code, name, fix):
    """Clock, overload, region and credentials are one finding each, and nobody is told to allow anything."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    content = f"<Error><Code>{code}</Code></Error>".encode()
    for operation in ("PutObject", "GetObject", "DeleteObjects", "ListObjectsV2"):
        proxy.fail(operation, status=status, content=content)
    checks = examine()[1]

    assert ill(checks) == [name]
    assert checks[name]["fix"].startswith(fix)


def test_a_store_that_stops_answering_is_one_finding(house, proxy):
    """A server error is not a missing permission."""
    proxy.fail("PutObject", status=503)
    checks = examine()[1]

    assert ill(checks) == ["store"]
    assert house.sample.objects() == []


@pytest.mark.parametrize(
    "call", ["ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "SendMessage"]
)
def test_each_permission_of_a_queue_is_checked(house, proxy, call):
    """A permission that a worker lacks on a queue is named, with the policy that grants it."""
    proxy.fail(call, status=400, content=b'{"__type": "com.amazon.coral.service#AccessDeniedException"}')
    code, checks = examine()
    name = f"permissions of {house.queue}"

    assert (code, ill(checks)) == (1, [name])
    assert checks[name]["detail"] == f"denied: sqs:{call}"
    assert checks[name]["fix"] == f"allow sqs:{call} as in deploy/iam-worker.json"


def test_permissions_are_tried_without_doing_anything(sample_of, aws):
    """What is tried does nothing to a queue and its messages, of either kind and on either stand-in."""
    sample = sample_of(store=f"s3://{aws.bucket()}/claims", conf={"task_routes": {"x": "orders.fifo"}})
    urls = [aws.queue(sample.queue), aws.queue("orders.fifo", FifoQueue="true")]
    groups = ({}, {"MessageGroupId": "g", "MessageDeduplicationId": "d"})
    for url, group in zip(urls, groups, strict=True):
        aws.client("sqs").send_message(QueueUrl=url, MessageBody="x", **group)
    checks = examine()[1]

    assert all(checks[f"permissions of {name}"]["ok"] for name in (sample.queue, "orders.fifo"))
    assert [aws.depth(url) for url in urls] == [(1, 0, 0), (1, 0, 0)]
    for url in urls:
        [message] = aws.client("sqs").receive_message(QueueUrl=url, AttributeNames=["All"])["Messages"]
        assert message["Attributes"]["ApproximateReceiveCount"] == "1"


def test_an_sqs_that_cannot_answer_is_no_permission(house, proxy):
    """A server error is neither a denial nor a proof of permission."""
    proxy.fail("ReceiveMessage", status=503)

    assert ill(examine()[1]) == ["queues"]


def test_a_bucket_that_is_not_there(sample_of, moto_aws):
    """A missing bucket is one finding, and what depends on it is unknown until there is one."""
    sample_of(store="s3://nobody-has-this-bucket/claims")
    code, checks = examine()

    assert code == 1
    assert ill(checks)[0] == "bucket"
    assert checks["bucket"]["command"] == "pipeline -A sample_app provision"
    for name in ("lifecycle rule", "clock"):
        assert (checks[name]["ok"], checks[name]["fix"]) == (None, "fix the store first")


@pytest.mark.parametrize(
    ("rules", "ok"),
    [
        ([{**RULE, "Filter": {"Prefix": ""}}], True),
        ([{**RULE, "Expiration": {"Days": 7}}], False),
        ([{**RULE, "Filter": {"Prefix": "other/"}}], False),
        ([{**RULE, "Status": "Disabled"}], False),
        (
            [RULE, {**RULE, "ID": "part", "Filter": {"Prefix": "claims/v1/"}, "Expiration": {"Days": 1}}],
            False,
        ),
        ([RULE, {**RULE, "ID": "tagged", "Filter": {"Tag": {"Key": "a", "Value": "b"}}}], True),
        ([RULE, sooner("other/")], True),
        ([RULE, sooner("claims/")], False),
        ([RULE, sooner("")], False),
        ([sooner("claims/")], False),
    ],
)
def test_the_lifecycle_rule_must_cover_and_wait(house, rules, ok):
    """A rule must be enabled, cover the prefix, and be no sooner than the payloads' TTL, as every other."""
    house.rules(*rules)

    assert examine()[1]["lifecycle rule"]["ok"] is ok


@pytest.mark.parametrize(
    ("rules", "expires", "ok"),
    [
        ([RULE, RESULTS], 86_400, True),
        ([RULE, RESULTS], 2 * 86_400, False),
        ([RULE], 86_400, False),
        ([RULE], 35 * 86_400, True),
        ([RULE], None, True),
        ([sooner("claims/v1/")], None, False),
    ],
)
def test_results_expire_as_celery_says(house, rules, expires, ok):
    """Large results are not to go before ``result_expires``, nor to stay for days after it."""
    house.sample.app.conf.update(result_serializer="claimcheck", result_expires=expires)
    house.rules(*rules)

    assert examine()[1]["lifecycle of results"]["ok"] is ok


@pytest.mark.parametrize(
    ("days", "ok"), [(None, False), (7, True), (8, True), (6, False), (35, False)], ids=str
)
def test_handles_expire_by_their_class(house, days, ok):
    """A TTL class that is used needs a rule for just its days; one that is not is not checked."""
    rule = {
        **RULE,
        "ID": "handles-7d",
        "Filter": {"Prefix": "claims/handles/7d/"},
        "Expiration": {"Days": days},
    }
    house.rules({**RULE, "Filter": {"Prefix": "claims/v1/"}}, *([rule] if days else []))
    put(b"x", ttl_days=7)
    checks = examine()[1]

    assert checks["lifecycle of handles-7d"]["ok"] is ok
    assert "lifecycle of handles-30d" not in checks


def test_no_lifecycle_rule_is_a_finding(house):
    """Without any rule, payloads that slip through stay for ever."""
    house.s3.delete_bucket_lifecycle(Bucket=house.bucket)

    assert ill(examine()[1]) == ["lifecycle rule"]


def test_a_lifecycle_rule_that_may_not_be_read_is_unknown(house, proxy):
    """Who may not read the rules learns that, and it is no finding."""
    proxy.fail("GetBucketLifecycleConfiguration", status=403)
    code, checks = examine()

    assert (code, checks["lifecycle rule"]["ok"]) == (0, None)
    assert checks["lifecycle rule"]["fix"] == "allow s3:GetLifecycleConfiguration for this check"


def test_a_wrong_clock_is_found(house, monkeypatch):
    """A clock that is more than a minute off is a finding, with the difference."""

    class Late(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(minutes=5)

    monkeypatch.setattr(bucket, "datetime", Late)
    checks = examine()[1]

    assert ill(checks) == ["clock"]
    assert checks["clock"]["detail"].startswith(("+300", "+299", "+301"))


def test_a_queue_that_is_not_there(sample):
    """A missing queue is a finding, and nothing more is asked of it."""
    checks = examine()[1]

    assert f"queue {sample.queue}" in ill(checks)


def test_a_queue_needs_dead_letters(house):
    """A queue without redrive policy, or with one that leads nowhere, is a finding with the command."""
    house.sqs.delete_queue(QueueUrl=house.dead_url)
    gone = examine()[1][f"dead letters of {house.queue}"]
    house.change(RedrivePolicy="")
    none = examine()[1][f"dead letters of {house.queue}"]

    assert "does not exist" in gone["detail"]
    assert none["detail"] == "no redrive policy"
    assert house.url in none["command"]


def test_dead_letters_must_outlive_their_queue(house):
    """SQS counts from the first send, so a dead-letter queue that keeps no longer is a finding."""
    house.sqs.set_queue_attributes(QueueUrl=house.dead_url, Attributes={"MessageRetentionPeriod": "345600"})

    assert ill(examine()[1]) == [f"retention of {house.queue}"]


def test_a_queue_that_keeps_as_long_as_sqs_can_is_to_keep_less(house):
    """Dead letters cannot be kept for more than 14 days, so then the queue's own retention is to go down."""
    house.change(MessageRetentionPeriod=str(14 * 86_400))
    check = examine()[1][f"retention of {house.queue}"]

    assert not check["ok"]
    assert f"--queue-url {house.url} " in check["command"]
    assert '{"MessageRetentionPeriod": "345600"}' in check["command"]


def test_fifo_dead_letters_start_anew(sample_of, moto_aws):
    """The days of a FIFO queue's dead letters count from when they died, so none are compared."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf={"task_default_queue": "orders.fifo"})
    moto_aws.queue("orders-dlq.fifo", FifoQueue="true")
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}orders-dlq.fifo", "maxReceiveCount": 5})
    moto_aws.queue(sample.queue, FifoQueue="true", RedrivePolicy=policy)
    checks = examine()[1]

    assert checks["dead letters of orders.fifo"]["ok"]
    assert "retention of orders.fifo" not in checks


def test_times_are_those_of_the_real_queue(house):
    """The time chain is checked against the queue's own retention, whatever the app believes."""
    house.change(MessageRetentionPeriod=str(14 * 86_400))
    before = examine()[1]
    object.__setattr__(serializer.installed().options, "payload_ttl_seconds", 28 * 86_400)
    after = examine()[1]

    assert before[f"times of {house.queue}"]["ok"]
    assert "payload_ttl_seconds" in after[f"times of {house.queue}"]["detail"]


def test_times_of_fifo_queues_count_twice(sample_of, moto_aws):
    """A TTL that is enough for a standard queue of the app may be too short for its FIFO queue."""
    conf = {"task_routes": {"x": {"queue": "orders.fifo"}}}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf=conf)
    moto_aws.queue(sample.queue, MessageRetentionPeriod=14 * 86_400)
    moto_aws.queue("orders.fifo", FifoQueue="true", MessageRetentionPeriod=10 * 86_400)
    checks = examine()[1]

    assert checks[f"times of {sample.queue}"]["ok"]
    assert "twice for FIFO" in checks["times of orders.fifo"]["detail"]


def test_settings_that_were_overwritten(house):
    """A serializer that was set after install is a finding."""
    house.sample.app.conf.task_serializer = "json"

    assert ill(examine()[1]) == ["task_serializer"]


def test_sqs_that_refuses_is_a_finding(house, proxy):
    """Without permission to ask SQS, the store is checked all the same."""
    proxy.fail("GetQueueAttributes", status=403)
    code, checks = examine()

    assert (code, ill(checks)) == (1, ["queues"])
    assert "allow sqs:GetQueueAttributes" in checks["queues"]["detail"]


@pytest.mark.parametrize(
    ("status", "code", "fix"),
    [
        (403, "AccessDenied", "allow sqs:GetQueueUrl there"),
        (400, "com.amazonaws.sqs#AccessDeniedException", "allow sqs:GetQueueUrl there"),
        (503, "ServiceUnavailable", "try again later"),
        (400, "AWS.SimpleQueueService.RequestThrottled", "try again later"),
        (429, "TooManyRequests", "try again later"),
        (403, "InvalidClientTokenId", "check credentials"),
        (400, "InvalidAddress", "fix what it names"),
    ],
)
def test_what_sqs_answers_has_its_own_fix(house, proxy, monkeypatch, status, code, fix):
    """What to do depends on what SQS says: nobody is told to allow what is allowed."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    proxy.fail("GetQueueUrl", status=status, content=json.dumps({"__type": code}).encode())
    check = examine()[1]["queues"]

    assert check["fix"].startswith(fix)
    assert check["detail"].endswith(check["fix"])


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("AWS_ACCESS_KEY_ID", None, "give this process credentials"),
        ("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9", "try again later"),
    ],
)
def test_what_keeps_us_from_asking_has_its_own_fix(house, monkeypatch, name, value, fix):
    """Without credentials, and where nobody answers, the fix says so."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)

    assert examine()[1]["queues"]["fix"].startswith(fix)


def test_a_setting_that_botocore_refuses_is_to_be_fixed(house):
    """Where a setting led nowhere, to try again would be of no use."""
    house.sample.app.conf.broker_transport_options["region"] = "no region"

    assert examine()[1]["queues"]["fix"].startswith("fix the setting that it names")


def test_other_brokers_and_stores_are_checked_as_far_as_they_can_be(sample_of):
    """With another broker and store, what can be asked is, and the rest is unknown."""
    sample_of(broker="memory://", store="memory://doctor")
    code, checks = examine()

    assert (code, checks["queues"]["ok"]) == (0, None)
    assert [name for name in checks if name.startswith("store: ")] == [
        "store: list", "store: put", "store: get", "store: delete"
    ]  # fmt: skip
    assert not {"credentials", "bucket", "s3:PutObject"} & checks.keys()


def test_people_get_marks_and_fixes(house):
    """Without --json each check has a mark, and each finding its fix below the table."""
    house.s3.delete_bucket_lifecycle(Bucket=house.bucket)
    result = CliRunner().invoke(main, ["-A", "sample_app", "doctor"])

    assert result.exit_code == 1
    assert "✓  credentials" in result.stdout
    assert "✗  lifecycle rule" in result.stdout
    assert "to fix lifecycle rule:" in result.stdout


def paste(command, aws):
    """Run a command line as a shell and AWS's own program would, which need not be installed."""
    for words in map(shlex.split, command.split(" && ")):
        program, service, call, *options = words
        given = {
            name.removeprefix("--").title().replace("-", ""): text
            for name, text in zip(options[::2], options[1::2], strict=True)
        }
        parameters = {
            name: json.loads(text) if text.startswith("{") else text for name, text in given.items()
        }
        assert program == "aws"
        client = aws.client(service.removesuffix("api"))
        getattr(client, call.replace("-", "_"))(**parameters)


def fix(checks, name, aws):
    paste(checks[name]["command"], aws)
    return examine()[1][name]


def test_the_command_for_a_lifecycle_rule_can_be_pasted(house, moto_aws):
    """It adds the rule for payloads, and keeps every other rule of the bucket."""
    theirs = {**RULE, "ID": "theirs", "Filter": {"Prefix": "other/"}, "Expiration": {"Days": 1}}
    too_short = {**RULE, "Expiration": {"Days": 2}}
    house.rules(theirs, too_short)
    checks = examine()[1]
    fixed = fix(checks, "lifecycle rule", moto_aws)
    kept = house.s3.get_bucket_lifecycle_configuration(Bucket=house.bucket)["Rules"]

    assert checks["lifecycle rule"]["detail"] == "expires after 2 days"
    assert (fixed["ok"], fixed["detail"]) == (True, "expires after 35 days")
    assert {rule["ID"] for rule in kept} > {"theirs", "payloads", "once", "revoked", "handles-7d"}
    assert kept[0] == theirs


def test_a_rule_of_others_has_no_command(house):
    """Where another rule ends payloads sooner, what to do is said in words, and nobody's rule is replaced."""
    house.rules(RULE, sooner("claims/"))
    check = examine()[1]["lifecycle rule"]

    assert (check["ok"], check["command"]) == (False, "")
    assert check["fix"].startswith("another rule expires payloads sooner: raise it to 35 days")


def test_the_commands_for_a_queue_can_be_pasted(house, moto_aws):
    """A missing dead-letter queue is made and named, and retentions are set."""
    name = house.queue
    house.change(RedrivePolicy="")
    house.sqs.delete_queue(QueueUrl=house.dead_url)
    dead = fix(examine()[1], f"dead letters of {name}", moto_aws)
    house.sqs.set_queue_attributes(
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


def test_errors_without_a_cause_are_about_no_code():
    """An error that no answer of S3's has caused is about none of its codes."""
    from pipeline.errors import StoreError

    assert not bucket.is_about(StoreError("x"), "NoSuchBucket")


class TestRemoteControl:
    """The doctor asks the workers, as monitors do."""

    @pytest.fixture
    def watched(self, sample_of, moto_aws, proxy):
        """A healthy sample whose workers hear commands."""
        store = f"s3://{moto_aws.bucket()}/claims"
        options = {"wait_time_seconds": 1, "polling_interval": 0.1}
        sample = sample_of(
            store=store, conf={"worker_enable_remote_control": True, "broker_transport_options": options}
        )
        return House(sample, moto_aws)

    def test_workers_are_counted(self, watched):
        """Without a worker nobody knows; with one it is fine, and no queue for answers is left."""
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

    def test_sqs_that_knows_us_not_is_found(self, watched, proxy):
        """Credentials that SQS refuses are findings, and every other check is made and told."""
        proxy.fail("ListQueues", status=403, content=b'{"__type": "InvalidClientTokenId"}')
        code, checks = examine()

        assert code == 1
        assert ill(checks) == ["queues", "remote control"]
        assert "InvalidClientTokenId" in checks["remote control"]["detail"]
        assert "credentials" in checks["remote control"]["fix"]


def test_a_misnamed_setting_is_found(house):
    """A setting that nothing reads is a finding, which names the one that is read."""
    house.sample.app.conf.transport_options = {"visibility_timeout": 1_800}
    code, checks = examine()

    assert (code, ill(checks)) == (1, ["setting transport_options"])
    assert checks["setting transport_options"]["fix"] == "rename it to broker_transport_options"
