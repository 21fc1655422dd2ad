"""A type that an application registers with Kombu."""

import pytest
from kombu.utils import json


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __eq__(self, other):
        return self.cents == other.cents

    __hash__ = None


@pytest.fixture
def money():
    """Register a type with Kombu, as an application does."""
    json.register_type(Money, "money", lambda money: money.cents, Money)
    yield
    json._encoders.pop(Money)
    json._decoders.pop("money")
