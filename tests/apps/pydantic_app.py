"""The sample's app and tasks whose arguments are pydantic models, for Celery to send and to make again."""

from datetime import date
from decimal import Decimal

from pydantic import BaseModel
from sample_app import app, note


class Line(BaseModel):
    name: str
    price: Decimal


class Order(BaseModel):
    due: date
    lines: list[Line]


@app.task(shared=False, pydantic=True)
def raised(order: Order, percent: int) -> Order:
    """Return the order with higher prices."""
    note(type(order).__name__)
    factor = 1 + Decimal(percent) / 100
    return order.model_copy(
        update={"lines": [Line(name=line.name, price=line.price * factor) for line in order.lines]}
    )
