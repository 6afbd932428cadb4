"""The HTTP print service: what it is sent, and what each of its answers means."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from server import jobs
from server.clock import tick
from server.db import db, now
from server.egress import AddressRefused
from server.letters import handover, services
from server.letters.adapters import HandoverInDoubt, Parcel, letterxpress
from server.letters.adapters.letterxpress import LetterXpress
from server.letters.models import Letter
from tests.factories import make_merchant
from tests.unit.letters import samples

pytestmark = pytest.mark.feature("S47", "K60")


def drained() -> None:
    assert jobs.drain_letter() is False
    db.session.expire_all()


def test_a_letter_becomes_a_job(printer, queue, by_letterxpress) -> None:
    home, abroad = queue("a"), queue("b", country="AT", is_registered=True)
    drained()
    for letter in (home, abroad):
        job = int(letter.service_reference)
        assert printer.pdf(job) == letter.pdf
        assert (letter.status, letter.delivery) == ("done", "accepted")
        assert (letter.cost, letter.cost_currency) == (Decimal("1.11"), "EUR")
        assert printer.letters[job]["notice"] == f"letter-{letter.id}"
        assert "Erika" not in str({**printer.letters[job], "base64_file": ""})
    shown = [printer.letters[int(letter.service_reference)] for letter in (home, abroad)]
    assert [each["specification"]["shipping"] for each in shown] == ["national", "international"]
    assert [each.get("registered") for each in shown] == [None, "r1"]
    assert samples.codes_of(home.pdf) == [samples.SEPA["girocode"]]


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("422", "failed", "refused (422)"),
        ("402", "queued", "balance"),
        ("429", "queued", "Too many"),
        ("503", "queued", "503"),
        ("302", "queued", "elsewhere"),
        ("500", "unknown", "500"),
        ("nonsense", "unknown", "cannot be read"),
        ("no number", "unknown", "no number"),
    ],
)
def test_every_answer_means_something(
    printer, queue, by_letterxpress, fault: str, status: str, words: str
) -> None:
    printer.faults.append(fault)
    letter = queue()
    drained()
    assert letter.status == status
    assert words in letter.error
    assert printer.apikey not in letter.error
    assert len([1 for method, _ in printer.requests if method == "POST"]) == 1


def test_a_wrong_key_is_for_a_person_and_is_told_once(printer, queue, by_letterxpress) -> None:
    printer.apikey = "another"
    letter = queue()
    drained()
    assert letter.status == "queued"
    db.session.refresh(by_letterxpress)
    assert "refused the user name or the key" in by_letterxpress.error
    since = by_letterxpress.error_since
    printer.apikey = "key-of-anna"
    letter.due_at = now()
    db.session.commit()
    drained()
    assert letter.status == "done"
    db.session.refresh(by_letterxpress)
    assert since is not None
    assert by_letterxpress.error is None


def test_no_answer_is_doubt_and_never_a_second_letter(
    printer, queue, by_letterxpress, monkeypatch
) -> None:
    monkeypatch.setattr(letterxpress, "READ_SECONDS", 0.2)
    printer.faults.append("hang")
    letter = queue()
    drained()
    drained()
    assert letter.status == "unknown"
    assert "did not answer" in letter.error
    assert len(printer.jobs) == 1


def test_a_letter_that_went_out_is_done_though_its_service_was_forgotten_meanwhile(
    printer, merchant, queue, by_letterxpress, monkeypatch
) -> None:
    def spoken(self, parcel, hand_over=LetterXpress.hand_over):
        services.forget_service(merchant.id)
        db.session.commit()
        return hand_over(self, parcel)

    monkeypatch.setattr(LetterXpress, "hand_over", spoken)
    letter = queue()
    drained()
    assert (letter.status, letter.service, len(printer.jobs)) == ("done", "letterxpress", 1)


def test_a_service_that_cannot_be_reached_is_tried_again(printer, queue, by_letterxpress) -> None:
    settings = {"username": "anna", "apikey": "k", "url": "http://127.0.0.1:9/v3"}
    services.save_service(
        by_letterxpress.merchant_id, "letterxpress", settings, {}, "EUR", actor="a", at=now()
    )
    db.session.commit()
    letter = queue()
    drained()
    assert letter.status == "queued"
    assert "cannot be reached" in letter.error


def test_without_money_the_service_holds_letters(printer, queue, by_letterxpress) -> None:
    printer.balance = 0
    letter = queue()
    drained()
    assert (letter.status, letter.delivery) == ("done", "accepted")
    assert "balance" in letter.delivery_words
    with pytest.raises(Misconfigured, match="used up"):
        services.check_service(by_letterxpress, db.session.commit)
    printer.balance = 12.5
    assert services.check_service(by_letterxpress, db.session.commit) == "12.5 EUR"


@pytest.mark.parametrize(
    ("state", "tracking", "delivery"),
    [
        ("queue", "", "accepted"),
        ("hold", "", "accepted"),
        ("done", "Zugestellt: 24.11.2026", "sent"),
        ("canceled", "", "failed"),
        ("returned", "Empfänger unbekannt", "returned"),
        ("something new", "", "accepted"),
    ],
)
def test_the_service_is_asked_how_letters_fare(
    printer, queue, by_letterxpress, state: str, tracking: str, delivery: str
) -> None:
    letter = queue()
    drained()
    printer.advance(int(letter.service_reference), state, tracking)
    asked = len(printer.requests)
    drained()
    assert len(printer.requests) == asked  # not at every round
    assert not handover.has_letters_to_ask(now())
    _wait_for_the_next_question(letter)
    assert handover.has_letters_to_ask(now())
    drained()
    assert letter.delivery == delivery
    assert (letter.delivered_at is not None) is (delivery != "accepted")
    if tracking:
        assert letter.delivery_words == tracking


def test_a_question_without_an_answer_changes_nothing(printer, queue, by_letterxpress) -> None:
    letter = queue()
    drained()
    for fault in ("500", "429", "nonsense", "422"):
        printer.faults.append(fault)
        _wait_for_the_next_question(letter)
        drained()
        assert (letter.status, letter.delivery) == ("done", "accepted")


def test_the_clock_rings_for_letters_under_way(app, printer, queue, by_letterxpress) -> None:
    bell = app.extensions["kontor.bell"]
    letter = queue()
    drained()
    assert "letter" not in tick(bell, now())
    _wait_for_the_next_question(letter)
    assert "letter" in tick(bell, now())


def test_nobody_is_asked_for_ever(printer, queue, by_letterxpress) -> None:
    letter = queue()
    drained()
    _wait_for_the_next_question(letter)
    letter.finished_at = now() - handover.ASK_FOR - timedelta(minutes=1)
    db.session.commit()
    assert not handover.has_letters_to_ask(now())


def _wait_for_the_next_question(letter: Letter) -> None:
    letter.due_at = now()
    db.session.commit()


# --- the adapter on its own -----------------------------------------------------------------------


def test_settings_that_cannot_work(allowed) -> None:
    good = {"username": "a", "apikey": "b"}
    with pytest.raises(Misconfigured):
        LetterXpress({**good, "mode": "loud"}, allowed)
    with pytest.raises(Misconfigured):
        LetterXpress({**good, "color": "pink"}, allowed)
    with pytest.raises(AddressRefused):
        LetterXpress({**good, "url": "ftp://example.org"}, allowed)


def test_errors_are_named_by_what_happens_next(allowed, printer) -> None:
    adapter = LetterXpress(
        {"username": "anna", "apikey": "key-of-anna", "url": printer.url}, allowed
    )
    parcel = Parcel(7, b"%PDF-", 1, ("Erika Mustermann",), "DE", False, "reminder", now())
    for fault, error in (
        ("422", Rejected),
        ("503", Temporary),
        ("402", Misconfigured),
        ("500", HandoverInDoubt),
    ):
        printer.faults.append(fault)
        with pytest.raises(error):
            adapter.hand_over(parcel)
    printer.faults.append("500")
    with pytest.raises(Temporary) as asked:
        adapter.status("1")
    assert not isinstance(asked.value, HandoverInDoubt)
    adapter.close()


def test_one_silent_service_is_asked_once_a_round_and_the_others_wait_their_turn(
    printer, queue, by_letterxpress, monkeypatch
) -> None:
    monkeypatch.setattr(letterxpress, "READ_SECONDS", 0.2)
    printer.faults.append("hang")
    first, *others = [queue(once) for once in "abc"]
    drained()
    assert first.status == "unknown"
    assert [(one.status, one.attempts) for one in others] == [("queued", 0), ("queued", 0)]
    assert all("did not answer" in one.error and one.due_at > now() for one in others)
    assert len(printer.jobs) == 1
    for one in others:
        one.due_at = now()
    db.session.commit()
    drained()
    assert [(one.status, one.error) for one in others] == [("done", None), ("done", None)]


def test_a_service_that_takes_nothing_leaves_other_merchants_alone(
    printer, queue, by_letterxpress
) -> None:
    other = make_merchant("Bobs Laden")
    services.save_service(other.id, "folder", {}, {}, "EUR", actor="bob", at=now())
    printer.faults.append("503")
    queue("a")
    theirs = queue("b", merchant_id=other.id, order_id=2)
    drained()
    assert theirs.status == "done"


def test_a_letter_that_is_refused_holds_nobody_up(printer, queue, by_letterxpress) -> None:
    printer.faults.append("422")
    refused, fine = queue("a"), queue("b")
    drained()
    assert (refused.status, fine.status) == ("failed", "done")
