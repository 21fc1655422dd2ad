"""The steps of the pages in docs/howto/moving/: own-serializer.md, extended-client.md and out.md."""

import pytest
from page_steps import Steps
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

QUICK = """
app.conf.broker_transport_options = {**app.conf.broker_transport_options, "wait_time_seconds": 1}
app.conf.worker_enable_remote_control = False  # no command waits for its answers
app.conf.worker_pool = "solo"
"""
SEND = "from shop import total; total.delay(list(range(200_000)))"


@pytest.fixture
def steps(tmp_path, moto_aws):
    """Return a function that opens a page. At the end, all its files and commands were used.

    Version 1 of the AWS CLI asks SQS at another address than that of the environment.
    """
    opened, replaced = [], {"aws sqs": f"aws --endpoint-url {moto_aws.url} sqs"}

    def start(page):
        opened.append(Steps(f"howto/moving/{page}", tmp_path, QUICK, replaced))
        return opened[-1]

    yield start
    for each in opened:
        each.check_all_used()


def ended(log, count):
    """Wait until a worker's log says that so many tasks have succeeded."""
    eventually(lambda: log().count(" succeeded in ") == count, 60)


def objects(aws, bucket):
    return aws.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"]


def bury(aws):
    """Move a message of the queue to the dead-letter queue, as SQS does after too many deliveries."""
    sqs, url = aws.client("sqs"), aws.url_of("celery")
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.send_message(QueueUrl=aws.url_of("celery-dlq"), MessageBody=message["Body"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_the_steps_from_a_serializer_of_your_own(steps, moto_aws):
    """Messages of both serializers run, and the old objects are removed when none names them."""
    page = steps("own-serializer.md")
    moto_aws.bucket("old-bucket")
    page.write("naive.py")
    page.write("shop.py")
    page.run("pipeline -A shop provision")
    page.python(SEND)
    assert (objects(moto_aws, "old-bucket"), objects(moto_aws, "my-bucket")) == (1, 0)
    page.write("shop.py")
    page.python(SEND)
    assert (objects(moto_aws, "old-bucket"), objects(moto_aws, "my-bucket")) == (1, 1)
    with page.running("celery -A shop worker") as log:
        ended(log, 2)
    page.run("pipeline -A shop top")
    page.run("pipeline -A shop dlq")
    page.write("shop.py")
    page.run("aws s3 ls")
    page.run("aws s3 rm")

    assert (objects(moto_aws, "old-bucket"), objects(moto_aws, "my-bucket")) == (0, 0)


def test_the_steps_from_the_extended_client(steps, moto_aws):
    """Messages of the client and tasks of its producers run in the same workers, and no object is left."""
    page = steps("extended-client.md")
    moto_aws.bucket("orders-payloads")
    moto_aws.queue("orders")
    page.write("send.py")
    page.write("shop.py")
    page.run("pipeline -A shop provision")
    page.run("python send.py")
    assert objects(moto_aws, "orders-payloads") == 1
    with page.running("celery -A shop worker") as log:
        page.write("publish.py")
        page.run("python publish.py")
        ended(log, 4)
    page.run("pipeline -A shop -Q orders top")
    page.run("aws s3 ls")
    page.run("aws s3 rb")

    assert log().count("'a large order': 1,000,000 characters") == 2


def test_the_steps_out_again(steps, moto_aws):
    """Claims in the queue, its delay and its dead letters run; Celery alone runs what comes after."""
    page = steps("out.md")
    moto_aws.bucket("my-bucket")
    page.write("shop.py")
    module = page.folder / "shop.py"
    reading = module.read_text()
    module.write_text(reading.replace(", publish=False", ""))
    page.python(f"{SEND}; {SEND}; total.apply_async([list(range(200_000))], countdown=1)")
    bury(moto_aws)
    module.write_text(reading)
    page.run("pipeline -A shop dlq list", status=1)
    page.run("pipeline -A shop dlq redrive")
    with page.running("celery -A shop worker") as log:
        ended(log, 3)
    page.run("pipeline -A shop sweep")
    page.run("aws s3 ls")
    page.run("pipeline -A shop top")
    page.python("from shop import total; total.delay([1]), total.apply_async([[2]], countdown=1)")
    page.run("aws")
    page.write("shop.py")
    with page.running("celery -A shop worker") as log:
        ended(log, 2)

    assert log().count(" succeeded in ") == 2
