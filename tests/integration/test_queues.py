"""Which queues the command looks at: those for tasks that the app names, wherever it does."""

import json

import pytest
from click.testing import CliRunner
from kombu import Exchange, Queue
from kombu.common import Broadcast

from pipeline.cli.main import main
from pipeline.transport.queues import Queues

pytestmark = pytest.mark.aws


def named(sample):
    """Return the queues that the command looks at, but for the default one."""
    with Queues(sample.app) as queues:
        return [name for name in queues.names() if name != sample.queue]


@pytest.mark.parametrize("prefix", ["", "prod-"])
def test_predefined_listener_queues_are_left_out(sample_of, moto_aws, prefix):
    """Predefined queues for mailboxes, replies and events have no tasks, and are not read."""
    listeners = ["celery-pidbox", "reply-celery-pidbox", "w1_host-celery-pidbox", "celeryev", "celeryev-mine"]
    names = [prefix + name for name in (*listeners, "mail")]
    options = {
        "predefined_queues": {name: {"url": moto_aws.queue(name)} for name in names},
        "queue_name_prefix": prefix,
    }
    sample = sample_of(store="memory://queues", conf={"broker_transport_options": options})

    assert [name for name in named(sample) if not name.startswith(f"{prefix}shop-")] == [f"{prefix}mail"]


def test_listeners_are_known_by_the_names_that_the_app_gives_them(sample_of, moto_aws):
    """Where control and events have other exchanges, their queues are known by those."""
    names = ["mine-pidbox", "news", "news-of-mine", "celeryev", "mail"]
    conf = {
        "broker_transport_options": {
            "predefined_queues": {name: {"url": moto_aws.queue(name)} for name in names}
        },
        "control_exchange": "mine",
        "event_exchange": "news",
        "event_queue_prefix": "news",
    }

    assert named(sample_of(store="memory://queues", conf=conf)) == ["celeryev", "mail"]


def test_broadcasts_are_left_out(sample, moto_aws):
    """A queue of one consumer's own ends with it; one that stays is looked at, however it is filled."""
    reported = Broadcast("reported")
    stays = Queue("stays", exchange=Exchange("everybody", type="fanout"))
    options = {"predefined_queues": {name: {"url": moto_aws.queue(name)} for name in ("reported", "stays")}}
    sample.app.conf.update(
        task_queues=[Queue(sample.queue), reported, stays],
        task_routes={"sample_app.add": {"queue": "reported"}},
        broker_transport_options=options,
    )

    assert named(sample) == ["stays"]


@pytest.mark.parametrize(
    "routes",
    [
        {"sample_app.add": {"queue": "routed"}},
        {"sample_app.*": {"queue": "routed"}},
        {"sample_app.add": "routed"},
        {"sample_app.add": {"queue": Queue("routed")}},
        ([("sample_app.*", {"queue": "routed"})], lambda *_, **__: None),
    ],
)
def test_routes_name_queues(sample, routes):
    """A queue that only a route leads to is the app's, whatever form the route has."""
    sample.app.conf.task_routes = routes

    assert named(sample) == ["routed"]


def test_a_route_without_a_queue_names_none(sample):
    """A route may choose a key alone."""
    sample.app.conf.task_routes = {"sample_app.add": {"routing_key": "a.b"}}

    assert named(sample) == []


@pytest.mark.filterwarnings("ignore::celery.exceptions.CDeprecationWarning")
def test_tasks_name_queues(sample):
    """A queue that a task has as its own is the app's."""

    @sample.task(queue="own")
    def owned():
        """Do nothing."""

    assert named(sample) == ["own"]


def test_more_queues_are_named_with_an_option(sample):
    """What is chosen when a task is called, or for a worker, is named for the command as for a worker."""
    words = ["-A", "sample_app", "-Q", f"late, {sample.queue},later", "provision", "--json"]
    made = json.loads(CliRunner().invoke(main, words).stdout)["made"]

    assert sorted(each["name"] for each in made if each["kind"] == "queue") == ["late", "later", sample.queue]


def test_a_route_names_the_group_of_a_fair_queue(sample_of, moto_aws):
    """A message that a route gives a group to carries it, on a standard queue, too."""
    sample = sample_of(store="memory://queues")
    sample.app.conf.task_routes = (lambda *_, **__: {"MessageGroupId": "tenant-7"},)
    sample.echo.delay("x")
    sqs = moto_aws.client("sqs")
    asked = {"QueueUrl": moto_aws.url_of(sample.queue), "MessageSystemAttributeNames": ["MessageGroupId"]}
    [message] = sqs.receive_message(**asked)["Messages"]

    assert message["Attributes"]["MessageGroupId"] == "tenant-7"
