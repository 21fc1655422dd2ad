"""What the tests of ``pipeline doctor`` share."""

import pytest
from doctor_sample import HealthySample


@pytest.fixture
def healthy(sample, moto_aws):
    """A healthy sample."""
    return HealthySample(sample, moto_aws)
