"""What a publisher gets an error or a warning for, before anything is sent."""

import pytest
from celery import Celery

import pipeline
from pipeline.installation import uninstall

KEY = b"a key of 16 bytes, or more"


@pytest.fixture
def app():
    app = Celery("checked", broker="memory://", set_as_current=False)
    yield app
    app.close()
    uninstall()


@pytest.fixture
def add(app):
    @app.task(name="add", shared=False)
    def add(*numbers):
        return sum(numbers)

    return add


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"link": "add"}, "link of task add has an item of type str: expected a signature"),
        ({"link": ["add"]}, "link of task add has an item of type str"),
        ({"link": 5}, "link of task add has an item of type int"),
        ({"link_error": 5}, "link_error of task add has an item of type int"),
        ({"link_error": [b"add"]}, "link_error of task add has an item of type bytes"),
    ],
)
def test_a_callback_that_is_no_signature_is_an_error(app, add, options, expected):
    """Celery's worker would run the task, trip over its callback, and record a failure."""
    pipeline.install(app, "memory://checked")

    with pytest.raises(TypeError, match=expected):
        add.apply_async((1, 2), **options)


def test_callbacks_that_celery_takes_are_sent(app, add):
    """A signature, one that was read from JSON, and the name of an errback are callbacks."""
    pipeline.install(app, "memory://checked")

    assert add.apply_async((1,), link=add.s(2), link_error="add")
    assert add.apply_async((1,), link=[dict(add.s(2))], link_error=[add.s(), "add"])


@pytest.mark.parametrize("where", ["call", "task", "configuration"])
def test_a_message_that_would_not_be_signed_is_an_error(app, add, where):
    """With a key, no worker accepts what is not signed: its publisher gets an error."""
    pipeline.install(app, "memory://checked", signing_key=KEY)
    if where == "configuration":
        app.conf.task_serializer = "json"
    if where == "task":
        add.serializer = "json"
    options = {"serializer": "json"} if where == "call" else {}

    with pytest.raises(ValueError, match=r"task add not published \[serializer=json\]: .* would be unsigned"):
        add.apply_async((1,), **options)


@pytest.mark.parametrize("options", [{}, {"signing_key": KEY, "accept_unsigned": True}])
def test_another_serializer_may_be_chosen(app, add, options):
    """Without a key, and while one is rolled out, workers accept what is not signed."""
    pipeline.install(app, "memory://checked", **options)

    assert add.apply_async((1,), serializer="json")
    assert app.send_task("add", (1,), serializer="json")


def test_commands_are_no_tasks(app):
    """Remote control is JSON of its own, with a key too."""
    pipeline.install(app, "memory://checked", signing_key=KEY)

    assert app.control.inspect(timeout=0.01).ping() is None


@pytest.mark.parametrize(
    ("serializer", "options", "count"),
    [("json", {}, 1), ("claimcheck", {}, 0), ("json", {"publish": False}, 0)],
)
def test_a_serializer_that_was_overwritten_is_logged_once(app, add, caplog, serializer, options, count):
    """A producer whose configuration was set after ``install`` offloads nothing, and its log says so once."""
    pipeline.install(app, "memory://checked", **options)
    app.conf.task_serializer = serializer
    for _ in range(2):
        add.delay(1)

    assert caplog.text.count("nothing is offloaded, task_serializer was set to 'json'") == count


class Shown:
    """An argument that notes when a text of it is made."""

    shown = False

    def __repr__(self):
        self.shown = True
        return "shown"


@pytest.mark.parametrize(("name", "is_shown"), [(None, False), ("claimcheck", False), ("json", True)])
def test_no_text_of_arguments_is_made_where_it_would_be_replaced(app, add, name, is_shown):
    """Celery's text of large arguments takes long: it is made for other serializers alone."""
    pipeline.install(app, "memory://checked")
    positional, named = Shown(), Shown()
    options = {"serializer": name} if name else {}

    message = app.amqp.as_task_v2("id", "add", [positional], {"key": named}, **options)

    assert (positional.shown, named.shown) == (is_shown, is_shown)
    assert ("shown" in message.headers["argsrepr"]) == is_shown
