"""Sales reports: many records in, one page of figures out.

A report is nested as a chain of shops keeps it::

    {"currency": "EUR",
     "regions": [
         {"region": "Norden",
          "stores": [
              {"store": "Malmö 2",
               "records": [
                   {"sold_at": datetime, "customer": str, "amount": Decimal,
                    "lines": [{"product": str, "quantity": int, "price": Decimal}]}]}]}]}

One report has one currency, so every sum is of like with like. Money is exact: decimals with at
most two places, and bounds small enough that no sum of them is ever rounded.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from celery import shared_task

AMOUNT_LIMIT = Decimal(10) ** 12
"""Limit of amounts and prices, in the report's currency, on both sides of zero."""
QUANTITY_LIMIT = 1_000_000
"""Limit of quantities; a negative one is a return of goods."""
PERCENTILES = (50, 90, 99)
"""Percentiles of the amounts in a summary."""
PRODUCTS_SHOWN = 10
"""How many of the best-selling products a summary shows."""
REASONS_SHOWN = 20
"""How many bad records a summary explains; all of them are counted."""

_ZERO = Decimal("0.00")


@shared_task(name="reports.summarise")
def summarise(report: dict[str, Any]) -> dict[str, Any]:
    """Summarise a report: totals by region and month, best-selling products, percentiles.

    A bad record counts nowhere but in ``bad_records``. Safe to call twice: nothing is changed.

    Args:
        report: as in this module's docstring; ``records`` may hold anything.

    Returns:
        ::

            {"currency": str, "records": int, "total": Decimal,
             "regions": [{"region": str, "count": int, "total": Decimal}],     in the report's order
             "months": [{"month": "2024-07", "count": int, "total": Decimal}], oldest first
             "products": [{"product": str, "count": int, "total": Decimal}],   dearest first
             "percentiles": {"p50": Decimal, "p90": Decimal, "p99": Decimal},  empty without records
             "bad_records": {"count": int, "first": [{"record": int, "reason": str}]}}

        ``record`` counts from 0 through the whole report. Months are those of the store's clock.

    Raises:
        KeyError: the frame around the records lacks a level.
        TypeError: a level of that frame is not what it should be.
    """
    sales, bad = _good_and_bad(report)
    amounts = [sale["amount"] for _, sale in sales]
    months = ((sale["sold_at"].isoformat()[:7], sale["amount"]) for _, sale in sales)
    return {
        "currency": report["currency"],
        "records": len(sales),
        "total": sum(amounts, start=_ZERO),
        "regions": _totals("region", ((region, sale["amount"]) for region, sale in sales)),
        "months": sorted(_totals("month", months), key=lambda found: found["month"]),
        "products": _best_selling(sale["lines"] for _, sale in sales),
        "percentiles": _percentiles(amounts),
        "bad_records": {"count": len(bad), "first": bad[:REASONS_SHOWN]},
    }


def _good_and_bad(report: dict[str, Any]) -> tuple[list[tuple[str, Any]], list[dict[str, Any]]]:
    """Separate the good records, each with its region, from the bad ones with their reasons."""
    sales, bad = [], []
    for index, (region, record) in enumerate(_records(report)):
        reason = next((reason for reason, holds in _RULES if not holds(record)), None)
        if reason is None:
            sales.append((region, record))
        else:
            bad.append({"record": index, "reason": reason})
    return sales, bad


def _records(report: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every record with the name of its region, in the report's order."""
    for region in report["regions"]:
        for store in region["stores"]:
            for record in store["records"]:
                yield region["region"], record


def _totals(name: str, amounts: Iterable[tuple[str, Decimal]]) -> list[dict[str, Any]]:
    """Count and add up amounts by group, in order of appearance; ``name`` says what a group is."""
    groups: dict[str, list[Decimal]] = defaultdict(list)
    for group, amount in amounts:
        groups[group].append(amount)
    return [
        {name: group, "count": len(found), "total": sum(found, start=_ZERO)}
        for group, found in groups.items()
    ]


def _best_selling(sold: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the products with the largest totals; equals in alphabetical order."""
    costs = ((line["product"], _cost(line)) for lines in sold for line in lines)
    totals = _totals("product", costs)
    return sorted(totals, key=lambda found: (-found["total"], found["product"]))[:PRODUCTS_SHOWN]


def _percentiles(amounts: list[Decimal]) -> dict[str, Decimal]:
    """Return the percentiles of the amounts, to the cent."""
    if not amounts:
        return {}
    # Before Python 3.13 quantiles() wants two values; one value twice has the same quantiles.
    cuts = statistics.quantiles(amounts if amounts[1:] else amounts * 2, n=100, method="inclusive")
    return {f"p{rank}": round(cuts[rank - 1], 2) for rank in PERCENTILES}


def _cost(line: dict[str, Any]) -> Decimal:
    cost: Decimal = line["quantity"] * line["price"]
    return cost


def _is_money(value: Any) -> bool:
    return (
        isinstance(value, Decimal)
        and value.is_finite()
        and -AMOUNT_LIMIT < value < AMOUNT_LIMIT
        and value == round(value, 2)
    )


def _is_line(line: Any) -> bool:
    match line:
        case {"product": str(), "quantity": int(quantity), "price": price}:
            in_bounds = -QUANTITY_LIMIT < quantity < QUANTITY_LIMIT
            return not isinstance(quantity, bool) and in_bounds and _is_money(price)
    return False


def _are_lines(lines: Any) -> bool:
    return isinstance(lines, list | tuple) and bool(lines) and all(map(_is_line, lines))


_RULES: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("record is not a mapping", lambda record: isinstance(record, dict)),
    ("sold_at is not a datetime", lambda record: isinstance(record.get("sold_at"), datetime)),
    ("amount is not money", lambda record: _is_money(record.get("amount"))),
    ("lines are not line items", lambda record: _are_lines(record.get("lines"))),
    (
        "amount is not the sum of its lines",
        lambda record: record["amount"] == sum(map(_cost, record["lines"])),
    ),
)
"""Rules of a good record, in the order of checking: each may rely on those before it."""
