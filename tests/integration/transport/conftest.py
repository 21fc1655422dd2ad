"""What the tests of the transport's channel share."""

import pytest
from transport_channel import opened


@pytest.fixture
def channel(moto_aws, proxy):
    with opened() as channel:
        yield channel
