"""Credentials that SQS accepts no more: they are read anew, and nothing is lost meanwhile."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from kombu import Connection, Producer, Queue
from test_deletes import channel, denial  # noqa: F401 - a fixture among them
from workers import eventually

from pipeline.stores.s3.store import S3Store
from pipeline.transport import Transport

pytestmark = pytest.mark.aws


@pytest.fixture
def rotated(moto_aws, proxy, tmp_path, monkeypatch):
    """A function that writes new credentials to a file, and makes AWS deny the old ones."""
    file = tmp_path / "credentials"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def write(key):
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")

    def rotate():
        write("NEWKEY")
        old = lambda it: "Credential=OLDKEY/" in it.headers.get("authorization", "")  # noqa: E731
        proxy.fail(old, 403, content=denial("InvalidClientTokenId"))

    write("OLDKEY")
    return rotate


def test_rotated_credentials_are_read_again(rotated, proxy, moto_aws):
    """A call that fails for its credentials is repeated once with those that the file has now."""
    name = f"queue-{uuid4().hex[:8]}"
    with Connection("sqs://", transport=Transport) as connection:
        producer, queue = Producer(connection.channel()), Queue(name)
        producer.publish({}, routing_key=name, declare=[queue], serializer="json")
        rotated()
        for _ in range(2):
            producer.publish({}, routing_key=name, serializer="json")

    assert moto_aws.depth(name).waiting == 3
    assert len([it for it in proxy.seen("SendMessage") if it.status == 403]) == 1


def test_a_role_whose_sessions_were_revoked_is_assumed_again(moto_aws, proxy, tmp_path, monkeypatch):
    """Role credentials that AWS denies are fetched again instead of taken from botocore's cache."""
    (tmp_path / "token").write_text("token")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/producer")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    name = f"queue-{uuid4().hex[:8]}"
    with Connection("sqs://", transport=Transport) as connection:
        channel = connection.channel()
        producer = Producer(channel)
        producer.publish({}, routing_key=name, declare=[Queue(name)], serializer="json")
        old = channel.sqs()._request_signer._credentials.get_frozen_credentials().access_key
        is_old = lambda it: f"Credential={old}/" in it.headers.get("authorization", "")  # noqa: E731
        proxy.fail(is_old, 403, content=denial("ExpiredToken"))
        producer.publish({}, routing_key=name, serializer="json")

    assert moto_aws.depth(name).waiting == 2


@pytest.mark.parametrize("is_expired", [False, True], ids=["revoked", "expired"])
def test_a_role_needs_the_keys_that_its_source_has_now(moto_aws, proxy, tmp_path, monkeypatch, is_expired):
    """A role whose source profile was rotated is assumed again with the new keys of that profile."""
    file, profiles = tmp_path / "credentials", tmp_path / "config"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profiles))
    monkeypatch.setenv("AWS_PROFILE", "role")
    role = "role_arn = arn:aws:iam::123456789012:role/producer"
    profiles.write_text(f"[profile role]\n{role}\nsource_profile = source\n")

    def write(key):
        file.write_text(f"[source]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")

    def deny(key):
        proxy.fail(lambda it: f"Credential={key}/" in it.headers.get("authorization", ""), 403, content=xml)

    xml = b"<ErrorResponse><Error><Code>ExpiredToken</Code></Error><Code>ExpiredToken</Code></ErrorResponse>"
    write("OLDKEY")
    store = S3Store(moto_aws.bucket(), "app")
    store.put("app/a", b"a", {})
    known = store._clients.get()._request_signer._credentials
    deny(known.get_frozen_credentials().access_key)
    deny("OLDKEY")
    write("NEWKEY")
    if is_expired:
        known._expiry_time = datetime.now(UTC)
    store.put("app/b", b"b", {})

    assert len(list(store.list())) == 2
    store.close()


@pytest.mark.worker
@pytest.mark.parametrize("pool", ["threads", "gevent", "eventlet"])
def test_a_worker_outlives_a_rotation(sample_of, rotated, moto_aws, tmp_path, pool):
    """A worker receives, extends and deletes with new credentials, with an event loop and without one."""
    options = {"visibility_timeout": 6, "wait_time_seconds": 1, "polling_interval": 0}
    sample = sample_of(store=f"file://{tmp_path}/payloads", conf={"broker_transport_options": options})
    sample.worker(pool=pool)
    running = sample.hold.delay("x")
    eventually(sample.notes)
    rotated()
    sample.note("go on")

    assert running.get(timeout=30) == 1
    assert sample.echo.delay("y").get(timeout=30) == "y"
    eventually(lambda: not any(moto_aws.depth(sample.queue)))


@pytest.mark.parametrize(
    "code",
    ["ExpiredToken", "InvalidAccessKeyId", "RequestTimeTooSkewed", "KmsThrottled", "Throttling"],
)
def test_a_delete_that_may_pass_is_tried_again(channel, proxy, moto_aws, code):  # noqa: F811
    """Credentials, clock and load are no verdict on a message: its acknowledgement settles later."""
    proxy.fail("DeleteMessageBatch", 403 if code == "ExpiredToken" else 400, times=5, content=denial(code))
    for message in channel.got:
        message.ack()

    assert channel._settler.flush(20)
    assert [message.unsettled for message in channel.got] == [False] * 3
    assert sum(moto_aws.depth(channel.queue)) == 0
