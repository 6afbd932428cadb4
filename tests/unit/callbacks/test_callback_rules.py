"""Callbacks: signatures against the published example, bodies, answers, pauses."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.callbacks import rules

AT = datetime(2026, 3, 2, 9, 0, 30, 120_000, tzinfo=UTC)

EXAMPLE_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EXAMPLE_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.feature("K79")
def test_the_published_example_of_the_specification_is_signed_as_published():
    signed = rules.signature(
        base64.b64decode(EXAMPLE_SECRET.removeprefix("whsec_")),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signed == EXAMPLE_SIGNATURE


def test_two_secrets_sign_beside_each_other():
    body = b"{}"
    found = rules.headers("msg_1", AT, body, [b"new" * 8, b"old" * 8])
    assert found["webhook-id"] == "msg_1"
    assert found["webhook-timestamp"] == "1772442030"
    assert found["webhook-signature"].split(" ") == [
        rules.signature(b"new" * 8, "msg_1", 1772442030, body),
        rules.signature(b"old" * 8, "msg_1", 1772442030, body),
    ]


def test_a_secret_is_shown_as_the_specification_says():
    shown = rules.secret_text(bytes(range(32)))
    assert shown == "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def test_an_id_with_a_full_stop_could_be_cut_elsewhere():
    with pytest.raises(AssertionError):
        rules.signature(b"x" * 32, "msg_1.2", 1, b"")


def test_the_body_has_type_timestamp_and_facts():
    body = rules.body_of(rules.STATUS_CHANGED, AT, {"number": "Ä-1"})
    assert body.startswith('{"type":"order.payment_status_changed"')
    assert json.loads(body) == {
        "type": "order.payment_status_changed",
        "timestamp": "2026-03-02T09:00:30.120Z",
        "data": {"number": "Ä-1"},
    }


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (202, "delivered"),
        (299, "delivered"),
        (301, "redirected"),
        (307, "redirected"),
        (400, "refused"),
        (404, "refused"),
        (410, "gone"),
        (429, "refused"),
        (500, "refused"),
        (599, "refused"),
    ],
)
def test_what_a_status_means(status, outcome):
    assert rules.outcome_of(status) == outcome


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"", ""),
        (b"  thank\r\n\tyou ", "thank you"),
        (b"\x00\x1b[31mred\x7f", "[31mred"),
        ("Schön \u202eumgedreht".encode(), "Schön umgedreht"),
        (b"\xff\xfeok", "ok"),
        (b"got v1,abc= from you", "got ••• from you"),
        (b"x" * 500, "x" * 199 + "…"),
    ],
)
def test_the_first_words_of_an_answer_can_be_shown(raw, shown):
    assert rules.first_words(raw, ["v1,abc="]) == shown


@given(st.binary(max_size=3000))
def test_whatever_is_answered_is_one_short_line(raw):
    line = rules.first_words(raw)
    assert len(line) <= rules.MAX_WORDS
    assert line.isprintable()


def test_pauses_grow_to_a_quarter_of_an_hour():
    pauses = [rules.pause_after(n, None, 0).total_seconds() for n in range(1, 8)]
    assert pauses == [5, 60, 300, 900, 900, 900, 900]


def test_a_wish_counts_up_to_six_hours():
    assert rules.pause_after(1, 120, 0) == timedelta(seconds=120)
    assert rules.pause_after(4, 120, 0) == timedelta(minutes=15)
    assert rules.pause_after(1, 10**6, 0) == timedelta(hours=6)


@given(st.integers(1, 1000), st.floats(-1, 1))
def test_chance_moves_a_pause_by_a_tenth(failures, chance):
    usual = rules.pause_after(failures, None, 0)
    assert abs(rules.pause_after(failures, None, chance) - usual) <= usual / 10


@pytest.mark.parametrize(
    ("outcome", "failures", "is_away"),
    [
        ("timeout", 1, True),
        ("private", 1, True),
        ("refused", 1, False),
        ("refused", 2, False),
        ("refused", 3, True),
    ],
)
def test_who_answers_with_an_error_is_away_after_three(outcome, failures, is_away):
    assert rules.is_away(outcome, failures) is is_away
