"""What a case says to the partner next, and what his words mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.collection import partners
from server.collection.rules import (
    REFRESH_EVERY,
    STATES,
    UNDER_WAY,
    CaseFacts,
    may_cancel,
    next_act,
    state_of,
)

NOW = datetime(2026, 4, 11, 9, tzinfo=UTC)
NEW = CaseFacts(
    state="handed_over",
    has_partner=True,
    can_refresh=False,
    is_opened=False,
    is_withdrawn=False,
    is_collected=True,
    owes=True,
    paid=Decimal(0),
    told_paid=Decimal(0),
    refreshed_at=None,
)
OPENED = replace(NEW, is_opened=True, can_refresh=True, refreshed_at=NOW)


@pytest.mark.feature("K61", "K62")
@pytest.mark.parametrize(
    ("case", "act"),
    [
        (NEW, "open"),
        (replace(NEW, has_partner=False), "wait"),
        (replace(NEW, owes=False), "drop"),
        (replace(NEW, state="cancelled", owes=False), None),
        (replace(NEW, state="cancelled"), "open"),
        (replace(NEW, state="cancelled", is_collected=False), None),
        (replace(NEW, state="rejected"), None),
        (replace(NEW, is_collected=False), None),
        (OPENED, None),
        (replace(OPENED, paid=Decimal(5)), "report"),
        (replace(OPENED, paid=Decimal(5), told_paid=Decimal(7)), "report"),
        (replace(OPENED, state="paid", told_paid=Decimal(5)), "report"),
        (replace(OPENED, state="closed", paid=Decimal(5)), None),
        (replace(OPENED, state="cancelled"), "withdraw"),
        (replace(OPENED, state="cancelled", is_withdrawn=True, paid=Decimal(5)), None),
        (replace(OPENED, refreshed_at=NOW - REFRESH_EVERY), "refresh"),
        (replace(OPENED, refreshed_at=None, state="closed"), None),
        (replace(OPENED, refreshed_at=None, can_refresh=False), None),
    ],
)
def test_what_is_said_next(case, act):
    assert next_act(case, NOW) == act


CASES = st.builds(
    CaseFacts,
    state=st.sampled_from(STATES),
    has_partner=st.booleans(),
    can_refresh=st.booleans(),
    is_opened=st.booleans(),
    is_withdrawn=st.booleans(),
    is_collected=st.booleans(),
    owes=st.booleans(),
    paid=st.decimals(-100, 100, places=2),
    told_paid=st.decimals(-100, 100, places=2),
    refreshed_at=st.none() | st.just(NOW) | st.just(NOW - timedelta(days=9)),
)


@given(CASES)
def test_whatever_is_so_every_case_comes_to_rest(case):
    """Whoever does what is next, and does it with success, is done after a few turns."""
    for _ in range(5):
        act = next_act(case, NOW)
        if act is None or act in ("wait", "drop"):
            return
        done = {
            "open": {"is_opened": True, "told_paid": case.paid},
            "report": {"told_paid": case.paid},
            "withdraw": {"is_withdrawn": True},
            "refresh": {"refreshed_at": NOW},
        }
        case = replace(case, **done[act])
    raise AssertionError(case)


@given(CASES)
def test_nobody_is_told_of_what_he_never_got(case):
    act = next_act(case, NOW)
    assert case.is_opened == (act in ("report", "withdraw", "refresh")) or act is None
    if act == "open":
        assert case.is_collected and case.owes and case.state in (*UNDER_WAY, "cancelled")


@pytest.mark.parametrize(
    ("said", "state"),
    [("Received", "handed_over"), (" in_progress ", "accepted"), ("withdrawn", "closed"),
     ("paid", "paid"), ("garnished", None), ("", None)],
)  # fmt: skip
def test_the_partners_words(said, state):
    assert state_of(said) == state


@pytest.mark.feature("K62")
@pytest.mark.parametrize("state", STATES)
def test_what_is_paid_or_cancelled_is_not_cancelled(state):
    assert may_cancel(state) == (state not in ("paid", "cancelled"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(
            st.sampled_from(["reference", "url", "state", "events", "id", "at", "words", "amount"]),
            inner,
        ),
        max_leaves=30,
    )
)  # fmt: skip
def test_whatever_a_service_answers_is_read_or_left_out(body):
    standing = partners._standing(body)
    assert standing.state is None or standing.state in STATES
    assert standing.url is None or standing.url.startswith("https://")
    for event in standing.events:
        assert event.id and (event.amount is None or event.amount.is_finite())
        assert event.at is None or event.at.tzinfo is not None


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "http://partner.example.com", "https://a:b@x.example", "https://"],
)
def test_only_a_plain_https_address_becomes_a_link(url):
    assert partners._standing({"url": url}).url is None
