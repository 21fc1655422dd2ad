"""The class of the channel."""

from kombu.transport.SQS import Channel as KombuChannel

from pipeline.transport.channel import Channel


def test_each_hook_of_kombu_is_overridden_once():
    """What happens to a message at one hook is read in one place."""
    sending, rest = (
        {name for name in vars(each) if not name.startswith("__")} for each in Channel.__mro__[1::-1]
    )

    assert Channel.__mro__[2] is KombuChannel
    assert not sending & rest
