"""What the tests of traces and log lines share."""

import pytest
from traced_sample import Traced


@pytest.fixture
def traced(sample_of, moto_aws, tmp_path):
    """A traced sample on SQS and S3 where every argument goes through the store."""
    bucket = moto_aws.bucket()
    return Traced(sample_of(store=f"s3://{bucket}/claims", options={"threshold_bytes": 0}), tmp_path, bucket)
