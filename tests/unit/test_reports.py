"""Sales reports."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps, loads

from tasks.reports import AMOUNT_LIMIT, PRODUCTS_SHOWN, REASONS_SHOWN, summarise
from tasks.samples import sample_report

money = st.decimals(-AMOUNT_LIMIT // 1000, AMOUNT_LIMIT // 1000, places=2)
anything = st.recursive(
    st.none() | st.integers() | st.text() | st.binary() | st.decimals() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=2,
)
near_records = st.fixed_dictionaries(
    {},
    optional={
        "sold_at": st.datetimes() | anything,
        "amount": money | anything,
        "lines": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "product": st.text() | anything,
                    "quantity": st.integers() | anything,
                    "price": money | anything,
                },
            )
        )
        | anything,
    },
)


def line(price="10.00", quantity=1, product="Tea"):
    return {"product": product, "quantity": quantity, "price": Decimal(price)}


def record(*lines, **changes):
    lines = list(lines) or [line()]
    amount = sum(bought["quantity"] * bought["price"] for bought in lines)
    sale = {"sold_at": datetime(2024, 5, 1, tzinfo=UTC), "customer": "Zoë", "amount": amount}
    return {**sale, "lines": lines, **changes}


def report(*records, region="Norden"):
    stores = [{"store": "Malmö 1", "records": list(records)}]
    return {"currency": "EUR", "regions": [{"region": region, "stores": stores}]}


def merged(*reports):
    return {"currency": "EUR", "regions": [found for one in reports for found in one["regions"]]}


def test_totals_by_region():
    """Every region has its count and total, in the report's order."""
    south = report(record(line("2.50")), region="Südtirol")
    north = report(record(line("0.10")), record(line("0.20")), region="Norden")

    assert summarise(merged(south, north))["regions"] == [
        {"region": "Südtirol", "count": 1, "total": Decimal("2.50")},
        {"region": "Norden", "count": 2, "total": Decimal("0.30")},
    ]


def test_totals_of_a_region_named_twice():
    """Regions of the same name are one region."""
    summary = summarise(merged(report(record()), report(record())))

    assert summary["regions"] == [{"region": "Norden", "count": 2, "total": Decimal("20.00")}]


def test_totals_by_month():
    """Every month has its count and total, oldest first, for every order of the records."""
    days = [datetime(2024, 10, 1), datetime(2023, 12, 31), datetime(2024, 10, 31)]
    summary = summarise(report(*(record(sold_at=day) for day in days)))

    assert summary["months"] == [
        {"month": "2023-12", "count": 1, "total": Decimal("10.00")},
        {"month": "2024-10", "count": 2, "total": Decimal("20.00")},
    ]


def test_month_is_the_stores_own():
    """A sale on New Year's morning in Tokyo counts in January, though London still has December."""
    tokyo = timezone(timedelta(hours=9))
    summary = summarise(report(record(sold_at=datetime(2024, 1, 1, 7, tzinfo=tokyo))))

    assert [found["month"] for found in summary["months"]] == ["2024-01"]


def test_best_selling_products():
    """The products shown are those with the largest totals over all lines."""
    lines = [line(f"{price}.00", product=f"P{price}") for price in range(1, 16)]
    products = summarise(report(record(*lines), record(line("8.00", 2, "P1"))))["products"]

    assert len(products) == PRODUCTS_SHOWN
    assert products[0] == {"product": "P1", "count": 2, "total": Decimal("17.00")}
    assert [found["product"] for found in products[1:3]] == ["P15", "P14"]


def test_best_selling_products_in_a_draw():
    """Products with equal totals are in alphabetical order."""
    summary = summarise(report(record(line(product="Tea"), line(product="Rug"))))

    assert [found["product"] for found in summary["products"]] == ["Rug", "Tea"]


def test_percentiles():
    """Percentiles are amounts to the cent, between neighbours where they fall between."""
    records = [record(line(f"{price}.00")) for price in range(1, 102)]

    assert summarise(report(*records))["percentiles"] == {
        "p50": Decimal("51.00"),
        "p90": Decimal("91.00"),
        "p99": Decimal("100.00"),
    }


def test_percentiles_of_one_record():
    """All percentiles of a single record are its amount."""
    percentiles = summarise(report(record(line("4.20"))))["percentiles"]

    assert set(percentiles.values()) == {Decimal("4.20")}


def test_an_empty_report():
    """A report without records has a total of zero and nothing to show."""
    assert summarise({"currency": "CHF", "regions": []}) == {
        "currency": "CHF",
        "records": 0,
        "total": Decimal("0.00"),
        "regions": [],
        "months": [],
        "products": [],
        "percentiles": {},
        "bad_records": {"count": 0, "first": []},
    }


def test_returned_goods():
    """A negative quantity lowers the totals."""
    summary = summarise(report(record(line("10.00", 3)), record(line("10.00", -1))))

    assert summary["total"] == Decimal("20.00")


@given(st.lists(money, max_size=30))
def test_money_is_exact(prices):
    """A total is the sum to the cent, however large and small the amounts that are mixed."""
    summary = summarise(report(*(record(line(price)) for price in prices)))

    assert summary["total"] * 100 == sum(int(price * 100) for price in prices)
    assert summary["total"].as_tuple().exponent == -2


def test_total_of_the_largest_amounts():
    """Even the sum of 10,000 of the largest amounts is not rounded."""
    largest = record(line(AMOUNT_LIMIT - Decimal("0.01")))

    assert summarise(report(*[largest] * 10_000))["total"] == Decimal("9999999999999900.00")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (None, "record is not a mapping"),
        ("text", "record is not a mapping"),
        ({}, "sold_at is not a datetime"),
        (record(sold_at="2024-05-01"), "sold_at is not a datetime"),
        (record(amount=10.0), "amount is not money"),
        (record(amount=Decimal("NaN")), "amount is not money"),
        (record(amount=Decimal("sNaN")), "amount is not money"),
        (record(amount=Decimal("Infinity")), "amount is not money"),
        (record(amount=Decimal("0.001")), "amount is not money"),
        (record(amount=AMOUNT_LIMIT), "amount is not money"),
        (record(amount=Decimal("1e999999999")), "amount is not money"),
        (record(amount=Decimal("1e-999999999")), "amount is not money"),
        (record(lines=None), "lines are not line items"),
        (record(lines=[]), "lines are not line items"),
        (record(lines=[None]), "lines are not line items"),
        (record(lines=[{**line(), "product": 7}]), "lines are not line items"),
        (record(lines=[{**line(), "quantity": True}]), "lines are not line items"),
        (record(lines=[{**line(), "quantity": 10**9}]), "lines are not line items"),
        (record(lines=[{**line(), "price": "10.00"}]), "lines are not line items"),
        (record(lines=[{"product": "Tea"}]), "lines are not line items"),
        (record(amount=Decimal("10.01")), "amount is not the sum of its lines"),
    ],
)
def test_a_bad_record(bad, reason):
    """A bad record is reported by index and reason, and counts nowhere else."""
    summary = summarise(report(record(), bad, record()))

    assert summary["bad_records"] == {"count": 1, "first": [{"record": 1, "reason": reason}]}
    assert summary["records"] == 2
    assert summary["total"] == Decimal("20.00")


def test_index_of_a_bad_record():
    """The index of a record counts through all regions and stores."""
    summary = summarise(merged(report(record(), record()), report(record(), None)))

    assert [found["record"] for found in summary["bad_records"]["first"]] == [3]


def test_many_bad_records():
    """All bad records are counted, and the first of them explained."""
    bad = summarise(report(*[None] * 1000))["bad_records"]

    assert bad["count"] == 1000
    assert [found["record"] for found in bad["first"]] == list(range(REASONS_SHOWN))


@given(st.lists(near_records | anything, max_size=3))
def test_no_record_raises(records):
    """Each record is either summed up or reported, and the summary can be serialized."""
    summary = summarise(report(*records))

    assert summary["records"] + summary["bad_records"]["count"] == len(records)
    assert loads(dumps(summary)) == summary


def test_reasons_do_not_quote():
    """A reason never shows what was in the record."""
    secret = record(sold_at="tell-no-one", customer="tell-no-one", lines=["tell-no-one"])

    assert "tell-no-one" not in repr(summarise(report(secret, "tell-no-one")))


@pytest.mark.parametrize("broken", [{}, {"currency": "EUR"}, {"regions": [{}], "currency": "EUR"}])
def test_a_report_without_a_frame(broken):
    """A report that lacks a level around its records is the caller's mistake."""
    with pytest.raises(KeyError):
        summarise(broken)


def test_the_report_is_not_changed():
    """A report is only read, so a task can be run again with the same one."""
    original = sample_report(50)
    used = deepcopy(original)
    summarise(used)

    assert used == original


def test_tuples_are_lists():
    """A report means the same before and after a trip that makes lists of its tuples."""
    tupled = report(record())
    tupled["regions"] = tuple(tupled["regions"])
    tupled["regions"][0]["stores"][0]["records"][0]["lines"] = (line(),)

    assert summarise(tupled) == summarise(loads(dumps(tupled)))


@pytest.mark.parametrize("name", ["__type__", "__value__", "", "関東", "\0"])
def test_names_are_data(name):
    """No name of a region or product can spoil the summary's own trip."""
    both = merged(report(record(line(product="__type__")), region="__value__"), report(record()))
    both["regions"][1]["region"] = name
    summary = summarise(both)

    assert loads(dumps(summary)) == summary


def test_summary_of_a_sample():
    """A realistic report has a small summary, which survives its trip."""
    summary = summarise(loads(dumps(sample_report(1_000))))

    assert summary == summarise(sample_report(1_000))
    assert loads(dumps(summary)) == summary
    assert summary["records"] == 1_000
    assert len(dumps(summary)) < 10_000


def test_name():
    """The task has the name that routes and callers use."""
    assert summarise.name == "reports.summarise"
