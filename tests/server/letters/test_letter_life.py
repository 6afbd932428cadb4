"""A letter from the moment it is queued until it is in the post, or is not."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update

from server import jobs
from server.db import db, now
from server.letters import handover, service, services
from server.letters.compose import ComposeError
from server.letters.kinds import FactError
from server.letters.models import Letter
from server.letters.pdfs import PdfRefused
from server.work import LEASE
from tests.factories import make_merchant
from tests.unit.letters import hostile, samples
from tests.unit.letters.samples import RECIPIENT, SEPA


def drained() -> None:
    assert jobs.drain_letter() is False
    db.session.expire_all()


def files(settings, merchant) -> list[str]:
    place = settings.var / "letters" / str(merchant.id)
    return sorted(path.name for path in place.glob("*/*") if place.is_dir())


@pytest.mark.feature("S47", "K60")
def test_a_letter_goes_into_the_print_folder(allowed, merchant, queue, in_folder) -> None:
    letter = queue(is_registered=True)
    drained()
    assert (letter.status, letter.delivery, letter.service) == ("done", "accepted", "folder")
    assert letter.pages == 1
    assert files(allowed, merchant) == [
        f"0001-letter-{letter.id}.pdf",
        "addresses.csv",
        "all.pdf",
    ]
    assert letter.service_reference.endswith(f"/0001-letter-{letter.id}.pdf")
    (kept,) = (allowed.var / "letters" / str(merchant.id)).glob("*/0001*")
    assert kept.read_bytes() == letter.pdf == service.pdf_of(letter)
    assert "Einschreiben" in samples.text_of(letter.pdf)
    assert samples.codes_of(letter.pdf) == [SEPA["girocode"]]


def test_a_letter_is_queued_once_and_waits_for_its_cut_off(merchant, queue, in_folder) -> None:
    letter = queue(due_at=now() + timedelta(hours=1))
    drained()
    assert letter.status == "queued"
    again = service.queue_letter(
        "reminder",
        merchant_id=merchant.id,
        shop_id=None,
        order_id=1,
        language="de",
        recipient=RECIPIENT,
        country="DE",
        once=letter.once,
        facts=SEPA,
        look=samples.LOOK,
        at=now(),
        due_at=now(),
    )
    assert again is None


@pytest.mark.feature("S73")
def test_a_letter_can_be_cancelled_until_it_is_handed_over(merchant, queue, in_folder) -> None:
    first, second = queue("a"), queue("b")
    service.cancel_letter(merchant.id, first.id, actor="anna", at=now())
    db.session.commit()
    drained()
    assert (first.status, first.cancelled_by, first.pdf) == ("withheld", "anna", None)
    assert second.status == "done"
    for letter in (first, second):
        with pytest.raises(service.NotCancellable):
            service.cancel_letter(merchant.id, letter.id, actor="anna", at=now())


def test_strangers_see_and_cancel_nothing(merchant, queue) -> None:
    stranger, letter = make_merchant("Bobs Bücher"), queue()
    assert service.letter_of(stranger.id, letter.id) is None
    with pytest.raises(KeyError):
        service.cancel_letter(stranger.id, letter.id, actor="bob", at=now())
    assert service.letter_of(merchant.id, letter.id) is letter
    assert letter.status == "queued"


def test_what_is_moot_is_withheld(merchant, queue, in_folder) -> None:
    paid, other, notice = queue("a"), queue("b", order_id=2), queue("c", kind="dunning_notice")
    assert service.withhold_letters(1, {"reminder"}, "the order is paid") == 1
    db.session.commit()
    drained()
    assert (paid.status, paid.error) == ("withheld", "the order is paid")
    assert other.status == notice.status == "done"


@pytest.mark.feature("S47")
def test_without_a_printer_letters_wait_and_nothing_is_lost(merchant, queue) -> None:
    letter = queue()
    drained()
    assert (letter.status, letter.attempts, letter.error) == ("queued", 0, handover.NO_SERVICE)
    assert letter.due_at > now() + timedelta(minutes=55)
    services.save_service(merchant.id, "folder", {}, {}, "EUR", actor="anna", at=now())
    letter.due_at = now()
    db.session.commit()
    drained()
    assert letter.status == "done"
    assert letter.error is None


def test_a_test_letter_is_drawn_and_handed_to_nobody(allowed, merchant, queue, in_folder) -> None:
    letter = queue(is_test=True)
    drained()
    assert (letter.status, letter.service, letter.delivery) == ("done", None, None)
    assert letter.pages == 1
    assert files(allowed, merchant) == []


def test_before_it_is_handed_over_it_can_be_seen(queue) -> None:
    letter = queue("a", kind="dunning_notice")
    text = samples.text_of(service.pdf_of(letter))
    assert "2. Mahnung" in text
    assert letter.pdf is None


@pytest.mark.feature("K60")
def test_what_a_letter_costs_is_known_before(merchant, in_folder) -> None:
    assert service.estimate(merchant.id, 2, False) == (Decimal("1.17"), "EUR")
    assert service.estimate(merchant.id, 1, True) == (Decimal("3.40"), "EUR")
    assert service.estimate(make_merchant("Bobs Bücher").id, 1, False) is None


# --- the shop's invoice ---------------------------------------------------------------------------

INVOICE = {name: text for name, text in SEPA.items() if name != "recipient_name"}


@pytest.mark.feature("S75", "K60")
def test_the_shop_s_invoice_is_sent_as_it_is(merchant, queue, in_folder) -> None:
    shop_s = hostile.invoice()
    plain = queue("a", kind="invoice", facts=INVOICE, enclosed=shop_s)
    with_slip = queue("b", kind="invoice", facts=INVOICE, enclosed=shop_s, slip=True)
    drained()
    assert plain.pdf == shop_s
    assert plain.pages == 1
    assert with_slip.pages == samples.page_count(with_slip.pdf) == 2
    assert "Erika Mustermann" in samples.text_of(with_slip.pdf, 0)
    assert samples.codes_of(with_slip.pdf, 1) == [SEPA["girocode"]]


@pytest.mark.feature("S75")
def test_an_invoice_without_an_address_in_its_window_gets_a_cover(queue, in_folder) -> None:
    shop_s = hostile.invoice(top=150.0)
    plain = queue("a", kind="invoice", facts=INVOICE, enclosed=shop_s)
    with_slip = queue("b", kind="invoice", facts=INVOICE, enclosed=shop_s, slip=True)
    drained()
    for letter in (plain, with_slip):
        assert letter.pages == samples.page_count(letter.pdf) == 2
        assert samples.piece(letter.pdf, "Erika Mustermann").bottom < 90.0
        assert "Rechnung RE-2026-17" in samples.text_of(letter.pdf, 0)
    assert samples.codes_of(plain.pdf, 0) == []
    assert samples.codes_of(with_slip.pdf, 0) == [SEPA["girocode"]]


def test_what_cannot_be_printed_is_refused_at_once(queue) -> None:
    script = hostile.with_catalog("/OpenAction << /S /JavaScript /JS (x) >>")
    with pytest.raises(PdfRefused, match="scripts"):
        queue("a", kind="invoice", facts=INVOICE, enclosed=script)
    with pytest.raises(FactError, match="needs enclosed"):
        queue("a", kind="invoice", facts=INVOICE)
    with pytest.raises(FactError, match="takes no enclosed"):
        queue("a", enclosed=hostile.invoice())
    with pytest.raises(FactError, match="'xx'"):
        queue("a", language="xx")
    with pytest.raises(ComposeError):
        queue("a", recipient=("山田太郎", "x", "y"))


def test_a_letter_that_cannot_be_drawn_fails_with_its_reason(queue, in_folder) -> None:
    letter, good = queue("a", facts={**SEPA, "girocode": "x" * 400}), queue("b")
    drained()
    assert letter.status == "failed"
    assert "No letter can be made of this" in letter.error
    assert good.status == "done"


# --- doubt, and once more -------------------------------------------------------------------------


def test_after_a_crash_nobody_sends_it_a_second_time_by_itself(merchant, queue, in_folder) -> None:
    """The worker died between handing over and its commit: the letter may be in the post."""
    letter = queue()
    (taken,) = Letter.claim(1, now())
    assert taken is letter
    db.session.execute(update(Letter).values(claimed_at=now() - LEASE - timedelta(seconds=1)))
    assert Letter.release_abandoned(now()) == 1
    drained()
    assert (letter.status, letter.pdf) == ("unknown", None)
    service.decide_unknown(letter, True, actor="anna", at=now())
    db.session.commit()
    drained()
    assert letter.status == "done"
    with pytest.raises(service.NotRepeatable):
        service.decide_unknown(letter, True, actor="anna", at=now())


def test_a_person_may_let_it_rest(queue) -> None:
    letter = queue()
    letter.in_doubt("no answer", now())
    service.decide_unknown(letter, False, actor="anna", at=now())
    assert (letter.status, letter.delivery_words) == ("done", service.LEFT_TO_REST)


def test_a_letter_that_came_back_goes_out_once_more(queue, in_folder) -> None:
    letter = queue()
    with pytest.raises(service.NotRepeatable):
        service.send_again(letter, actor="anna", at=now(), due_at=now())
    drained()
    first = service.send_again(letter, actor="anna", at=now(), due_at=now())
    second = service.send_again(letter, actor="anna", at=now(), due_at=now())
    db.session.commit()
    drained()
    copies = [db.session.get_one(Letter, number) for number in (first, second)]
    assert [copy.once for copy in copies] == [f"{letter.once}:again:{n}" for n in (1, 2)]
    assert all(copy.status == "done" and copy.actor == "anna" for copy in copies)
    assert letter.status == "done"


def test_what_never_left_goes_on_as_the_same_row(merchant, queue, in_folder) -> None:
    letter = queue()
    service.cancel_letter(merchant.id, letter.id, actor="anna", at=now())
    assert service.send_again(letter, actor="bea", at=now(), due_at=now()) == letter.id
    db.session.commit()
    drained()
    assert (letter.status, letter.cancelled_by, letter.actor) == ("done", None, "bea")
