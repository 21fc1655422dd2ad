"""What the app has spent while ``pipeline top`` looked: a range, from what can be counted from outside.

Prices and arithmetic are those of docs/explanation/costs.md: list prices of us-east-1, in US dollars.
Not contained:
chunks beyond a message's first, calls saved by batches, empty receives of idle workers, retries and
redeliveries, remote control, metrics, storage. The range is there because nobody sees from outside whether a
task's arguments were offloaded: its lower end is all inline, its upper end all offloaded.
"""

from dataclasses import dataclass
from typing import Self

SQS_REQUEST = 0.40 / 1_000_000
S3_PUT = 0.005 / 1_000
S3_GET = 0.0004 / 1_000
S3_LIST = 0.005 / 1_000
"""A page of a listing costs as much as a PUT. Source: https://aws.amazon.com/s3/pricing/"""


@dataclass(frozen=True, slots=True)
class Spending:
    """US dollars since the view began."""

    basis: str
    """What was counted."""
    inline: float
    """If no argument was offloaded."""
    offloaded: float
    """If all were."""
    view: float
    """For the view's own requests."""

    @classmethod
    def of_tasks(cls, started: int, view: float) -> Self:
        """Return what tasks cost that workers say to have begun: a send, a receive and a delete each."""
        inline = started * 3 * SQS_REQUEST
        return cls(f"{started:,} tasks started", inline, inline + started * (S3_PUT + S3_GET), view)

    @classmethod
    def of_messages(cls, arrived: int, gone: int, view: float) -> Self:
        """Return the least that was spent, if backlogs grew by ``arrived`` and shrank by ``gone``."""
        inline = (arrived + 2 * gone) * SQS_REQUEST
        basis = f"{arrived:,} messages that came and {gone:,} that went, at least"
        return cls(basis, inline, inline + arrived * S3_PUT + gone * S3_GET, view)


def of_view(sqs_calls: int, pages: int) -> float:
    """Return what requests of SQS and pages of a listing cost, in US dollars."""
    return sqs_calls * SQS_REQUEST + pages * S3_LIST
