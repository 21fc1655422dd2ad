"""A soft time limit that comes before a task has begun."""

import signal
import threading
from contextlib import suppress

import pytest
from celery import Celery
from celery.exceptions import Reject, SoftTimeLimitExceeded
from kombu.utils import json

from pipeline.deferred.soft_time_limit import reraising_soft_limit
from pipeline.results import Outgoing
from pipeline.serializer import serializer

NO_SIGNATURES = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))


def test_what_a_call_returns_or_raises_comes_through(limit_comes):
    """Without a limit a call is a call."""
    assert reraising_soft_limit(lambda: 5) == 5
    with pytest.raises(KeyError, match="k"):
        reraising_soft_limit(lambda: {}["k"])


@pytest.mark.parametrize("swallowed", [Exception, BaseException])
def test_a_limit_cannot_be_swallowed(limit_comes, swallowed):
    """A limit that comes during a call ends it, even if the call catches the exception."""

    def call():
        with suppress(swallowed):
            limit_comes()
        return 5

    with pytest.raises(SoftTimeLimitExceeded):
        reraising_soft_limit(call)


def test_a_limit_stops_what_catches_every_exception(limit_comes):
    """A call that retries every failure, as botocore does, does not retry after the limit."""
    tries = []

    def call():
        while len(tries) < 3:
            tries.append("try")
            with suppress(Exception):
                limit_comes()

    with pytest.raises(SoftTimeLimitExceeded):
        reraising_soft_limit(call)
    assert tries == ["try"]


def test_the_limit_ends_the_outer_of_two_calls_too(limit_comes):
    """A limit that comes during the inner call is one for the outer."""
    with pytest.raises(SoftTimeLimitExceeded):
        reraising_soft_limit(lambda: reraising_soft_limit(limit_comes))


def test_signals_of_others_are_left_alone(limit_comes):
    """Where the signal is no soft time limit, and in other threads than the main one, a call is a call."""
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append("theirs"))
    reraising_soft_limit(limit_comes)
    signal.signal(signal.SIGUSR1, before)
    thread = threading.Thread(target=lambda: seen.append(reraising_soft_limit(lambda: "thread")))
    thread.start()
    thread.join()

    assert seen == ["theirs", "thread"]


def test_a_limit_while_a_payload_is_decoded_is_no_corruption(claimcheck, slow):
    """A message whose time was up while it was decoded goes back: nothing is wrong with its payload."""
    args, _, _ = serializer.decode(serializer.encode(([slow], {}, NO_SIGNATURES)))

    @Celery("limited", set_as_current=False).task(shared=False)
    def look():
        with pytest.raises(Reject, match="soft time limit came first") as caught:
            list(args)
        return caught.value.requeue

    assert look.apply().get() is True


def test_a_limit_while_a_result_is_read_is_the_task_s(claimcheck, store, slow, noise):
    """A task that looks at another one's large result gets its own time limit, as from any other line."""
    value = serializer.decode(serializer.encode({"result": Outgoing([noise, slow])}))

    with pytest.raises(SoftTimeLimitExceeded):
        value["result"]
    assert store.calls == {"put": 1, "get": 1}


def test_a_task_without_memory_for_its_payload_has_failed(claimcheck, slow):
    """A lack of memory is the task's own, as if it had come one line later."""
    json.register_type(type(slow), "slow", lambda _: 0, out_of_memory)
    args, _, _ = serializer.decode(serializer.encode(([slow], {}, NO_SIGNATURES)))

    @Celery("full", set_as_current=False).task(shared=False)
    def look():
        return list(args)

    assert isinstance(look.apply().result, MemoryError)


def out_of_memory(_):
    raise MemoryError
