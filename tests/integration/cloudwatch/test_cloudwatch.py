"""Metrics arrive in CloudWatch as recorded, and a failing CloudWatch costs only metrics."""

import os
import socket
import time
from datetime import UTC, datetime

import pytest

from pipeline.aws.limits import CLOUDWATCH_DATA_COUNT
from pipeline.local import free_port
from pipeline.metrics import CloudWatchSink, Series
from pipeline.metrics.recorder import VALUES_PER_SERIES, Recorder
from pipeline.metrics.sinks import cloudwatch
from pipeline.metrics.table import DATA_DROPPED, PAYLOAD_BYTES, RUN_SECONDS, TASKS_FAILED, TASKS_SUCCEEDED

pytestmark = pytest.mark.aws


@pytest.fixture
def sink(url, namespace):
    sink = CloudWatchSink(namespace, endpoint_url=url)
    yield sink
    if sink._client is not None:
        sink._client[1].close()


@pytest.fixture
def recorder(sink):
    recorder = Recorder(sink, interval_seconds=3600, task_limit=5000)
    yield recorder
    recorder.close()


@pytest.fixture
def calls(sink):
    """What each PutMetricData carried: its data, and its size before compression."""
    seen = []

    def note_data(params, **_):
        seen.append({"data": params["MetricData"]})

    def note_size(params, **_):
        seen[-1]["size_bytes"] = len(params["body"])

    events = sink._connected().meta.events
    events.register("provide-client-params.cloudwatch.PutMetricData", note_data)
    events.register("before-call.cloudwatch.PutMetricData", note_size)
    return seen


def test_what_is_recorded_can_be_read(recorder, read):
    """Sum, number, extremes and unit read back are those of what was recorded."""
    for size in (1000, 2000, 2000, 3_000_000):
        recorder.record(PAYLOAD_BYTES, size, queue="q", task="t")
    recorder.record(RUN_SECONDS, 0.25, queue="q", task="t")
    recorder.flush()

    assert read(PAYLOAD_BYTES, Queue="q", Task="t") == {
        "sum": 3_005_000,
        "count": 4,
        "least": 1000,
        "most": 3_000_000,
        "units": {"Bytes"},
    }
    assert read(RUN_SECONDS, Queue="q", Task="t")["sum"] == 0.25


def test_many_values_arrive_whole(recorder, read, calls):
    """A series with more values than one datum takes is sent as several data in one call."""
    for size in range(1000):
        recorder.record(PAYLOAD_BYTES, size, queue="q", task="t")
    recorder.flush()

    assert len(calls) == 1
    assert max(len(datum["Values"]) for datum in calls[0]["data"]) == VALUES_PER_SERIES
    answer = read(PAYLOAD_BYTES, Queue="q", Task="t")
    assert (answer["sum"], answer["count"]) == (sum(range(1000)), 1000)


def test_unknown_dimensions_are_left_out(recorder, calls):
    """An unknown dimension is not sent: CloudWatch rejects empty values."""
    recorder.record(TASKS_FAILED)
    recorder.record(TASKS_FAILED, queue="q")
    recorder.flush()

    assert [datum["Dimensions"] for datum in calls[0]["data"]] == [[], [{"Name": "Queue", "Value": "q"}]]


@pytest.mark.parametrize(
    ("name", "sent"),
    [("é\n", "??"), (":x", "x"), (" ", None), ("n" * 2000, "n" * 1024), ("a.b-c_d/e:f", "a.b-c_d/e:f")],
)
def test_dimensions_are_what_cloudwatch_takes(name, sent, recorder, calls):
    """A name that CloudWatch would reject, with the whole call, is made printable first."""
    recorder.record(TASKS_FAILED, task=name)
    recorder.flush()

    dimensions = {each["Name"]: each["Value"] for each in calls[0]["data"][0]["Dimensions"]}
    assert dimensions == ({"Task": sent} if sent else {})


def test_calls_stay_below_the_number_of_data(recorder, read, calls):
    """More than 1,000 data travel in several calls, and all of them arrive."""
    for number in range(2500):
        recorder.record(TASKS_SUCCEEDED, task=f"t{number}")
    recorder.flush(60)

    assert max(len(call["data"]) for call in calls) <= CLOUDWATCH_DATA_COUNT
    assert sum(len(call["data"]) for call in calls) == 2500
    assert read(TASKS_SUCCEEDED, Task="t0")["sum"] == read(TASKS_SUCCEEDED, Task="t2499")["sum"] == 1


def test_calls_stay_below_the_size(sink, calls):
    """Big data travel in calls below 1 MB each, counted before compression."""
    values = {1 / (number + 3): 2 for number in range(VALUES_PER_SERIES)}
    sink.emit([Series(RUN_SECONDS, "q" * 80, f"t{number}" * 40, values) for number in range(200)])

    assert sum(len(call["data"]) for call in calls) == 200
    assert max(call["size_bytes"] for call in calls) < 1_000_000


@pytest.mark.parametrize("protocol", ["query", "json", "smithy-rpc-v2-cbor"])
def test_the_estimate_is_an_upper_bound(protocol):
    """No protocol that botocore may speak needs more for a datum than we reckon."""
    from urllib.parse import urlencode

    from botocore.serialize import create_serializer
    from botocore.session import get_session

    operation = get_session().get_service_model("cloudwatch").operation_model("PutMetricData")
    for count in (1, 150):
        values = {-1 / (3 + number) ** 99: 10**6 + number for number in range(count)}
        series = Series(RUN_SECONDS, "/" * 1024, "t:" * 512, values)
        data = [cloudwatch._datum(series, datetime.now(UTC))] * 999
        parameters = {"Namespace": "ClaimCheck", "MetricData": data}
        body = create_serializer(protocol).serialize_to_request(parameters, operation)["body"]
        size_bytes = len(urlencode(body) if isinstance(body, dict) else body)

        assert size_bytes <= 999 * cloudwatch._size_bytes(data[0])


def test_an_empty_batch_is_no_call(sink, calls):
    """An empty batch makes no call."""
    sink.emit([])

    assert calls == []


def test_refused_connections_cost_only_metrics(namespace, read, url, caplog):
    """A CloudWatch that is down raises nothing and blocks nothing, and dropped metrics are counted later."""
    sink = CloudWatchSink(namespace, endpoint_url=f"http://127.0.0.1:{free_port()}", timeout_seconds=1)
    recorder = Recorder(sink)
    started = time.monotonic()
    for _ in range(2):
        recorder.record(TASKS_FAILED)
        recorder.record(RUN_SECONDS, 1)
        recorder.flush()
    elapsed = time.monotonic() - started
    sink._endpoint_url, sink._client = url, None
    recorder.record(TASKS_FAILED)
    recorder.close()

    assert elapsed < 30
    assert [record.getMessage() for record in caplog.records if record.name == "pipeline.metrics"] == [
        "metrics dropped [dropped_count=2]"
    ]
    assert read(DATA_DROPPED)["sum"] == 4
    assert read(TASKS_FAILED)["sum"] == 1
    sink._client[1].close()


def test_a_cloudwatch_that_hangs_is_given_up():
    """A server that accepts and never answers costs the timeouts of one call, and no more."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        sink = CloudWatchSink(endpoint_url=url, timeout_seconds=0.5)
        started = time.monotonic()
        with pytest.raises(Exception, match="timeout"):
            sink.emit([Series(TASKS_FAILED, "", "", {1.0: 1})] * 3000)
        assert time.monotonic() - started < 10
        sink._client[1].close()


def test_no_region_is_no_error(monkeypatch, caplog):
    """A process without a region or credentials works as ever, and logs why it has no metrics."""
    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    recorder = Recorder(CloudWatchSink())
    recorder.record(TASKS_FAILED)
    recorder.close()

    assert "NoRegionError" in caplog.text


def test_each_process_has_its_own_client(sink):
    """A forked child does not share its parent's sockets."""
    mine = sink._connected()
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        os.write(write_end, b"shared" if sink._connected() is mine else b"own")
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(read_end, 16) == b"own"
    assert sink._connected() is mine
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize("namespace", ["", "AWS/SQS", ":x", "é", "n" * 256])
def test_namespaces_are_checked_at_once(namespace):
    """``CloudWatchSink`` raises for a namespace that CloudWatch would reject."""
    with pytest.raises(ValueError, match="namespace"):
        CloudWatchSink(namespace)
