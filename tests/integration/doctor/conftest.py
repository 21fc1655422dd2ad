"""What the tests of ``pipeline doctor`` share."""

import pytest
from doctor_sample import House


@pytest.fixture
def house(sample, moto_aws):
    """A healthy sample."""
    return House(sample, moto_aws)
