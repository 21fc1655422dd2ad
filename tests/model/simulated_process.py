"""What one simulated process calls SQS with until it dies, and what it has handed to its releaser."""

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import EndpointConnectionError
from simulated_sqs import URL


class Client:
    """What one process calls SQS with. A dead process makes no calls."""

    def __init__(self, sqs: Any) -> None:
        self._sqs = sqs
        self.is_alive = True

    def __getattr__(self, name: str) -> Any:
        if not self.is_alive:
            raise EndpointConnectionError(endpoint_url=URL)
        return getattr(self._sqs, name)


@dataclass(eq=False)
class Ended:
    """An execution that handed its payload to the releaser."""

    message: Any
    key: str
    member: bytes | None = None
