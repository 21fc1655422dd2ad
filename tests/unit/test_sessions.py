"""Sessions of botocore share what is the same in each of them, and nothing else."""

import botocore.session

from pipeline.aws.session import botocore_session

EVENT = "before-call.sqs.SendMessage"


def handlers_of(session):
    return session.get_component("event_emitter")._emitter._handlers.prefix_search(EVENT)


def handler(**_):
    """Do nothing."""


def test_a_session_has_the_handlers_of_botocore():
    """A session has the event handlers of a session that botocore makes, in the same order."""
    assert handlers_of(botocore_session()) == handlers_of(botocore.session.Session())


def test_a_handler_is_that_of_one_session():
    """A handler that is registered with a session is called for that session alone."""
    one, other = botocore_session(), botocore_session()
    one.register(EVENT, handler)

    assert handler in handlers_of(one)
    assert handler not in {*handlers_of(other), *handlers_of(botocore_session())}
