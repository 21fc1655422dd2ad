"""A sample whose queue is the event source of a Lambda handler in this process."""

from contextlib import ExitStack

import pytest
from celery.app.trace import reset_worker_optimizations
from envelopes import Queues
from lambda_events import EventSource
from sample_fixtures import imported

from pipeline.aws_lambda import sqs_handler

__all__ = ["OPTIONS", "source_of"]

OPTIONS = {"redelivery_floor_seconds": 0, "redelivery_step_seconds": 0, "max_receive_count": 3}


@pytest.fixture
def source_of(sample_of, moto_aws):
    """Return a function that makes a sample on SQS and S3, with its queue as a handler's event source.

    Its first argument names a module of tasks beside the sample's own.
    """

    def make(module=None, threshold_bytes=0, **conf):
        conf = {"broker_transport_options": OPTIONS, **conf}
        options = {"threshold_bytes": threshold_bytes}
        sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=options, conf=conf)
        if module:
            setattr(sample, module, stack.enter_context(imported(module)))
        sample.queues, sample.aws = Queues(sample, moto_aws), moto_aws
        sample.handler = sqs_handler(sample.app)
        sample.source = EventSource(moto_aws, sample.queue, sample.handler)
        apps.append(sample.app)
        return sample

    apps = []
    with ExitStack() as stack:
        yield make
    for app in apps:
        reset_worker_optimizations(app)
