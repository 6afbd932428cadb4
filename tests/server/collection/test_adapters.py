"""The partners without an interface: a folder, and a law office that gets mails."""

from __future__ import annotations

import email
import email.policy
import io
import json
import stat
import zipfile
from dataclasses import replace

import pytest

from plugin_sdk.errors import Misconfigured
from server import config
from server.collection import partners, service
from server.db import db
from server.egress import AddressRefused
from server.mail.rules import AddressError
from server.orders import lifecycle
from server.orders.ledger import NotPossible
from tests.fakes.smtp_server import FakeSmtp
from tests.server.collection.steps import ANNA, LATER, case_of, hand_over, name_partner, pay, work


@pytest.fixture
def office(allowed):
    """The installation's mail server."""
    with FakeSmtp() as server:
        settings = replace(allowed, smtp_url=f"smtp://127.0.0.1:{server.port}")
        config.install(settings)
        yield server


@pytest.fixture
def by_mail(merchant, office):
    return name_partner(merchant, "mail", recipient="kanzlei@example.com")


def read(received):
    return email.message_from_bytes(received.content, policy=email.policy.default)


def take_back(order):
    lifecycle.take_from_collection(order.merchant_id, order.id, actor=ANNA, at=LATER)
    db.session.commit()


# --- a folder ----------------------------------------------------------------------------------


@pytest.mark.feature("K61")
def test_the_folder_gets_the_dossier_the_payments_and_the_withdrawal(order, merchant, allowed):
    name_partner(merchant, "folder")
    hand_over(order)
    work()
    folder = partners.folder_of(allowed.var, merchant.id)
    (laid,) = folder.iterdir()
    assert zipfile.ZipFile(laid).testzip() is None
    assert stat.S_IMODE(laid.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    pay(order, "19.00")
    work()
    paid = json.loads((folder / f"{laid.stem}-payments.json").read_text())
    assert (paid["paid_total"], paid["reference"]) == ("19.00", laid.stem.partition("-AA")[0])
    take_back(order)
    work()
    assert (folder / f"{laid.stem}-withdrawn.json").exists()
    assert len(list(folder.iterdir())) == 3


def test_a_folder_that_cannot_be_written_is_tried_again(order, merchant, allowed):
    name_partner(merchant, "folder")
    (allowed.var / "collection").write_text("in the way")
    hand_over(order)
    work()
    case = case_of(order)
    assert (case.is_opened, case.status) == (False, "queued")
    assert "cannot be written" in case.error


# --- by mail -----------------------------------------------------------------------------------


@pytest.mark.feature("C23", "K61")
def test_a_law_office_gets_one_mail_with_everything(order, by_mail, office):
    hand_over(order)
    work()
    (received,) = office.received
    assert received.recipients == ("kanzlei@example.com",)
    message = read(received)
    assert "Annas Antiquariat" in message["From"] and "Erika Mustermann" in message["Subject"]
    assert "0123 456789-0" in message.get_body().get_content()
    (attached,) = message.iter_attachments()
    archive = zipfile.ZipFile(io.BytesIO(attached.get_content()))
    assert {"index.pdf", "case.json", "postings.csv"} <= set(archive.namelist())
    assert case_of(order).status == "done"


@pytest.mark.feature("K62")
def test_it_hears_of_payments_and_of_the_withdrawal(order, by_mail, office):
    hand_over(order)
    work()
    pay(order, "19.00")
    work()
    take_back(order)
    work()
    _, paid, withdrawn = (read(one) for one in office.received)
    assert "Direkte Zahlung" in paid["Subject"] and "19,00" in paid.get_body().get_content()
    assert "zurückgezogen" in withdrawn["Subject"]
    assert len({read(one)["Message-ID"] for one in office.received}) == 3


def test_a_mail_that_may_have_arrived_comes_with_the_same_id(order, by_mail, office):
    office.faults["DOT"] = ["keep and drop"]
    hand_over(order)
    work()
    assert case_of(order).status == "queued"
    work(case_of(order).due_at)
    first, second = (read(one)["Message-ID"] for one in office.received)
    assert first == second


@pytest.mark.parametrize(
    ("verb", "answer", "status"),
    [("RCPT", "550 5.1.1 nobody here", "failed"), ("RCPT", "450 4.2.0 later", "queued")],
)
def test_what_the_mail_server_says_decides(order, by_mail, office, verb, answer, status):
    office.faults[verb] = [answer]
    hand_over(order)
    work()
    assert case_of(order).status == status


def test_what_is_too_large_for_a_mail_is_for_the_merchant(order, by_mail, office, monkeypatch):
    monkeypatch.setattr(partners, "MAX_MAILED_BYTES", 10)
    hand_over(order)
    work()
    assert case_of(order).status == "failed"
    assert "too large for a mail" in case_of(order).error
    assert office.received == []


def test_a_name_cannot_break_out_of_the_head(merchant, shop, order, by_mail, office):
    merchant.name = "Anna\r\nBcc: bob@example.org"
    db.session.commit()
    hand_over(order)
    work()
    assert read(office.received[0])["Bcc"] is None


# --- settings ----------------------------------------------------------------------------------


def test_without_a_mail_server_nobody_is_promised_a_mail(merchant, allowed):
    row = name_partner(merchant, "mail", recipient="kanzlei@example.com")
    with pytest.raises(Misconfigured, match="SMTP_URL"):
        service.speaking_with(row).check()


def test_the_check_asks_the_partner(by_http, partner):
    service.speaking_with(by_http).check()
    assert partner.asked == [("GET", "/api/status")]
    partner.faults = [401]
    with pytest.raises(Misconfigured):
        service.speaking_with(by_http).check()


@pytest.mark.parametrize(
    ("adapter", "particulars", "problem"),
    [
        ("http", {"url": "ftp://partner.example.com"}, AddressRefused),
        ("http", {"url": "http://10.0.0.1/"}, AddressRefused),
        ("mail", {"recipient": "no address"}, AddressError),
        ("fax", {}, NotPossible),
    ],
)
def test_settings_that_cannot_work_are_not_stored(merchant, adapter, particulars, problem):
    with pytest.raises(problem):
        name_partner(merchant, adapter, **particulars)
    assert service.partner_of(merchant.id) is None


@pytest.mark.feature("K61")
def test_a_partner_needs_somebody_to_ask(merchant, allowed):
    with pytest.raises(NotPossible, match="collection_needs_contact"):
        service.set_partner(
            merchant.id,
            "folder",
            {},
            name="P",
            contact_name="",
            contact_phone="1",
            actor="",
            at=LATER,
        )


def test_the_settings_are_sealed(by_http, partner):
    assert b"a-token" not in bytes(by_http.settings)
    assert service.settings_of_partner(by_http)["url"] == partner.url
