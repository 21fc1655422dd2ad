"""Sessions of botocore share what is the same in each of them, and nothing else."""

import boto3.session
import botocore.session
import pytest
from botocore.exceptions import UnknownServiceError

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


def test_a_session_finds_the_services_that_botocore_finds():
    """Its loader knows each service, and names one that is not there."""
    loader = botocore_session().get_component("data_loader")
    known = loader.list_available_services("service-2")

    assert set(known) >= set(botocore.session.Session().get_available_services())
    with pytest.raises(UnknownServiceError, match="'s4'"):
        loader.load_service_model("s4", "service-2")


def test_sessions_of_boto3_leave_nothing_in_the_loader():
    """boto3 adds a folder for each session; the loader, which all share, does not grow."""
    session = botocore_session()
    before = session.get_component("data_loader").search_paths
    for _ in range(3):
        boto3.session.Session(region_name="eu-west-1", botocore_session=botocore_session())

    assert session.get_component("data_loader").search_paths == before
