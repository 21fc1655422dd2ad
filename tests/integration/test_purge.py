"""``celery purge``, which deletes messages behind everybody's back."""

import pytest

pytestmark = pytest.mark.aws


def test_purge_counts_once(sample, moto_aws):
    """The number of deleted messages is that of the queue, once; their payloads are orphans."""
    for number in range(3):
        sample.digest.delay(number)
    purged = sample.app.control.purge()

    assert purged == 3
    assert moto_aws.depth(moto_aws.url_of(sample.queue)) == (0, 0, 0)
    assert len(sample.objects()) == 3
