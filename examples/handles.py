"""A file of payments goes to a task as a handle; the task streams it, and answers with another handle.

Run it from the root of the repository, with ``python -m examples.handles``: it needs the extra ``local``, and
no AWS account.
"""

import csv
import os
import tempfile
import urllib.request
from pathlib import Path

import boto3
from celery import Celery
from celery.contrib.testing.worker import start_worker

import pipeline
from pipeline.local import EmbeddedAWS

ROWS = 400_000


def write_payments(path):
    """Write a CSV file; every thousandth row has no amount."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "currency", "amount", "note"])
        for number in range(ROWS):
            amount = "" if number % 1_000 == 0 else f"{number % 100}.50"
            writer.writerow([number, ("EUR", "USD")[number % 2], amount, "a payment like any other"])


def make_app():
    """Return an app on SQS and S3, whose task is one of this repository, and its claim check."""
    boto3.client("s3").create_bucket(
        Bucket="payments", CreateBucketConfiguration={"LocationConstraint": os.environ["AWS_DEFAULT_REGION"]}
    )
    app = Celery("example", broker="sqs://", backend="cache+memory://", include=["tasks.exports"])
    app.conf.broker_transport_options = {"wait_time_seconds": 1}
    return app, pipeline.install(app, store="s3://payments/claims")


def main():
    """Run the example, and print what happens."""
    with tempfile.TemporaryDirectory() as temporary, EmbeddedAWS() as aws:
        folder = Path(temporary)
        os.environ.update(aws.environment())
        app, claimcheck = make_app()
        write_payments(folder / "payments.csv")

        handle = pipeline.put(
            folder / "payments.csv",
            ttl_days=1,
            progress=lambda so_far, total: print(f"stored {so_far:,} of {total:,} bytes"),
        )
        print("the task's argument:", handle)

        with start_worker(app, perform_ping_check=False):
            found = app.send_task("exports.add_up_payments", [handle]).get(timeout=60)
        print("totals:", {currency: str(total) for currency, total in sorted(found["totals"].items())})

        rejected = found["rejected"]["file"]
        print(f"{found['rejected']['count']} rows were rejected:", rejected)
        with rejected.open() as file:
            print("the first one:", file.readlines()[1].decode().strip())
        path = rejected.download(folder / "rejected.csv")
        print("downloaded:", path.name, f"({path.stat().st_size:,} bytes)")
        with urllib.request.urlopen(rejected.url(expires_seconds=60)) as answer:  # noqa: S310 - it is HTTP
            print("by its URL, which expires in a minute:", answer.headers["Content-Disposition"])

        handle.delete()
        rejected.delete()
        print("left in the store:", len(list(claimcheck.store.list())))


if __name__ == "__main__":
    main()
