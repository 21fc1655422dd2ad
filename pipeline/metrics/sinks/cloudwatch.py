"""Sends metrics to Amazon CloudWatch with PutMetricData, in few calls."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from pipeline.aws.credentials import renew_when_denied
from pipeline.aws.limits import CLOUDWATCH_CALL_LIMIT_BYTES, CLOUDWATCH_DATA_COUNT
from pipeline.aws.session import botocore_session
from pipeline.metrics import Series
from pipeline.metrics.sinks.cloudwatch_names import NAMESPACE, checked_namespace, dimensions

if TYPE_CHECKING:  # stubs are a development dependency
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDatumTypeDef

_ENVELOPE_BYTES = 700
_NUMBER_BYTES = 120
"""Most that one datum, and one value with its count, take in the query protocol that botocore used
before CBOR, the widest of its protocols; measured on botocore 1.44 by tests/integration."""


class CloudWatchSink:
    """Sends each batch with PutMetricData. Any process that records; safe after a fork.

    The client is built at the first emit of each process, on the recorder's thread. A CloudWatch
    that is down costs at most ``attempt_count * 2 * timeout_seconds`` for each batch, since the
    first call that fails ends it. A call that timed out is sent again, and may then count twice.

    Raises:
        ValueError: CloudWatch does not allow the namespace.
    """

    def __init__(
        self,
        namespace: str = NAMESPACE,
        *,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        timeout_seconds: float = 5.0,
        attempt_count: int = 2,
    ) -> None:
        self._namespace = checked_namespace(namespace)
        self._region_name, self._endpoint_url = region_name, endpoint_url
        self._config = Config(
            connect_timeout=timeout_seconds,
            read_timeout=timeout_seconds,
            retries={"total_max_attempts": attempt_count, "mode": "standard"},
        )
        self._client: tuple[int, CloudWatchClient] | None = None

    def emit(self, batch: Sequence[Series]) -> None:
        """Send the batch, in as few calls as CloudWatch allows.

        Raises:
            botocore.exceptions.BotoCoreError: no credentials, no region, or no answer.
            botocore.exceptions.ClientError: CloudWatch rejected a call; earlier calls are delivered.
        """
        client, now = self._connected(), datetime.now(UTC)
        for data in _calls(_datum(series, now) for series in batch):
            client.put_metric_data(Namespace=self._namespace, MetricData=data)

    def _connected(self) -> "CloudWatchClient":
        # A separate session: the default one has locks, which another thread may have locked at a fork.
        if self._client is None or self._client[0] != os.getpid():
            session = boto3.session.Session(
                region_name=self._region_name, botocore_session=botocore_session()
            )
            client = session.client("cloudwatch", endpoint_url=self._endpoint_url, config=self._config)
            renew_when_denied(client)
            self._client = os.getpid(), client
        return self._client[1]


def _datum(series: Series, now: datetime) -> "MetricDatumTypeDef":
    return {
        "MetricName": series.metric.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions(series)],
        "Timestamp": now,
        "Values": list(series.values),
        "Counts": list(series.values.values()),
        "Unit": series.metric.unit.value,
        "StorageResolution": 60,
    }


def _calls(data: "Iterator[MetricDatumTypeDef]") -> "Iterator[list[MetricDatumTypeDef]]":
    call: list[MetricDatumTypeDef] = []
    left_bytes = CLOUDWATCH_CALL_LIMIT_BYTES
    for datum in data:
        size_bytes = _size_bytes(datum)
        if call and (len(call) == CLOUDWATCH_DATA_COUNT or size_bytes > left_bytes):
            yield call
            call, left_bytes = [], CLOUDWATCH_CALL_LIMIT_BYTES
        call.append(datum)
        left_bytes -= size_bytes
    if call:
        yield call


def _size_bytes(datum: "MetricDatumTypeDef") -> int:
    # A character of a name may take three bytes: %2F.
    names = sum(3 * len(dimension["Value"]) for dimension in datum.get("Dimensions", ()))
    return _ENVELOPE_BYTES + names + _NUMBER_BYTES * len(datum.get("Values", ()))
