"""Days complete, days missing, balances that do not add up."""

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from server.banking.rules.coverage import Break, Period, breaks, calendar

FIRST = date(2026, 3, 2)


def day(number):
    return FIRST + timedelta(days=number - 1)


def period(first, last, opening="100", total="0", *, closing=None, complete=True, statement=1):
    begin = Decimal(opening) if opening is not None else None
    end = Decimal(closing) if closing is not None else begin
    if closing is None and begin is not None:
        end = begin + Decimal(total)
    return Period(statement, day(first), day(last), begin, end, Decimal(total), complete)


def states(periods, counts=None, last=7):
    days = calendar(periods, counts or {}, day(1), day(last), breaks(periods))
    return [one.state for one in days]


def test_days_of_complete_statements_are_complete_and_the_others_missing():
    assert states([period(2, 3)], last=4) == ["missing", "complete", "complete", "missing"]


def test_an_export_lists_days_and_so_does_a_single_posting():
    told = [period(2, 3, None, complete=False)]
    assert states(told, {day(4): 2}, last=5) == ["missing", "listed", "listed", "listed", "missing"]
    assert calendar([], {day(1): 7}, day(1), day(1))[0].postings == 7


def test_a_chain_of_balances_proves_that_the_days_between_held_nothing():
    told = [period(1, 1, "100", "10"), period(4, 4, "110", "5")]
    assert states(told, last=4) == ["complete"] * 4
    assert breaks(told) == []


def test_a_chain_that_does_not_fit_is_a_break_where_the_later_one_begins():
    told = [period(1, 1, "100", "10", statement=1), period(4, 4, "120", "5", statement=2)]
    assert breaks(told) == [Break("chain", day(4), 2, Decimal(110), Decimal(120))]
    assert states(told, last=4) == ["complete", "missing", "missing", "broken"]


def test_postings_that_are_not_the_difference_of_the_balances_are_a_break():
    told = [period(1, 2, "100", "10", closing="115")]
    assert breaks(told) == [Break("sum", day(2), 1, Decimal(115), Decimal(110))]
    assert states(told, last=2) == ["complete", "broken"]


def test_the_same_statement_twice_breaks_nothing():
    told = [period(1, 1, "100", "10"), period(1, 1, "100", "10", statement=2), period(2, 2, "110")]
    assert breaks(told) == []


def test_statements_without_balances_tell_days_only():
    assert breaks([period(1, 1, None, "10"), period(2, 2, "100")]) == []


def test_postings_that_are_kept_and_not_in_the_banks_balances_are_a_break():
    told = [period(1, 1, "100", "10"), period(2, 3, "110", "5", statement=2)]
    right = {day(1): Decimal(10), day(2): Decimal(2), day(3): Decimal(3)}
    assert breaks(told, right) == []
    assert breaks(told, right | {day(3): Decimal(22)}) == [
        Break("held", day(3), 2, Decimal(5), Decimal(24))
    ]
    assert breaks([told[0], period(3, 3, "99", "5")], {}) != []


def test_what_is_kept_is_not_judged_where_a_statement_is_missing():
    told = [period(1, 1, "100", "10"), period(4, 4, "150", "5", statement=2)]
    assert [one.kind for one in breaks(told, {})] == ["chain"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-500, 500)), min_size=1, max_size=12))
def test_an_unbroken_chain_has_no_breaks_and_no_holes(steps):
    told, number, balance = [], 1, Decimal(0)
    for gap, total in steps:
        number += gap + 1
        told.append(period(number, number, str(balance), str(total)))
        balance += total
    assert breaks(told) == []
    first = told[0].from_date
    days = calendar(told, {}, first, told[-1].to_date, breaks(told))
    assert {one.state for one in days} == {"complete"}


def test_a_calendar_has_an_end():
    assert len(calendar([], {}, date(1990, 1, 1), FIRST)) == 400
