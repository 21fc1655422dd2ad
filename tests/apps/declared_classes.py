"""Classes that an application declares and passes to tasks: none of them is a type that travels."""

from dataclasses import dataclass

import attrs
from pydantic import BaseModel


@dataclass
class Order:
    number: int


@attrs.define
class Item:
    number: int


class Invoice(BaseModel):
    number: int
