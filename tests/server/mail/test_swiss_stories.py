"""An account with a QR-IBAN: the mail, the pages and the bank's file speak of one QR reference."""

from __future__ import annotations

import re

import pytest

from server.banking.models import BankAccount
from server.banking.payments.swiss_qr import grouped_reference
from server.banking.service import AccountTerms, add_account, change_account, store_statement
from server.banking.sharing import add_member, share_account
from server.db import db
from server.jobs import drain_match_request, drain_statement
from server.mail.models import Mail
from server.mail.service import preview_mail
from server.matching.service import facts_of, posting_keys
from server.merchants.service import change_setting
from server.orders.links import page_url
from server.orders.rules import creditor_reference, qr_reference
from server.orders.service import assign
from tests.bank_files import Paid, camt
from tests.factories import AT, make_merchant, make_order, make_posting, make_shop

ADDRESS = {
    "street": "Musterweg",
    "building_number": "7",
    "postcode": "8000",
    "city": "Zürich",
    "country": "CH",
}
SWISS_IBAN = "CH9300762011623852957"
QR_IBAN = "CH4431999123000889012"
TERMS = AccountTerms(
    SWISS_IBAN,
    creditor_name="Annas Antiquariat",
    currency="CHF",
    creditor_address=ADDRESS,
    qr_iban=QR_IBAN,
)


@pytest.fixture
def merchant(app):
    merchant = make_merchant(account=False)
    add_account(merchant.id, TERMS)
    return merchant


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


def swiss_order(shop, country="CH", **over):
    address = {"first_name": "Reto", "last_name": "Muster", "city": "Musterwil", "country": country}
    wishes = {"currency": "CHF", "total": "1284.60", "billing_address": address}
    return make_order(shop, **(wishes | over))


def mail_of(order, kind="payment_information"):
    return db.session.query(Mail).filter_by(order_id=order.id, kind=kind).one()


def import_camt(merchant, reference, amount="1284.60", iban=SWISS_IBAN):
    """A file of a Swiss bank, which calls the account by its IBAN."""
    structured = (
        "<Strd><CdtrRefInf><Tp><CdOrPrtry><Prtry>QRR</Prtry></CdOrPrtry></Tp>"
        f"<Ref>{reference}</Ref></CdtrRefInf></Strd>"
    )
    paid = camt("camt.053", Paid(amount, "@", name="Max Fremd"), iban=iban).decode()
    paid = paid.replace("<Ustrd>@</Ustrd>", structured).replace("EUR", "CHF")
    store_statement(merchant.id, "august.xml", paid.encode(), uploaded_by="Anna")
    db.session.commit()
    drain_statement()
    for _ in range(3):
        drain_match_request()
    db.session.expire_all()


@pytest.mark.feature("K18", "K19")
@pytest.mark.parametrize("kind", ["own", "rf", "order_number"])
def test_a_qr_iban_asks_for_a_qr_reference_whatever_is_set(merchant, shop, kind):
    change_setting(merchant.id, "reference_kind", kind, actor="anna", at=AT)
    order = swiss_order(shop)
    mail, wanted = mail_of(order), qr_reference(order.payment_reference)
    assert mail.facts["payment_reference"] == grouped_reference(wanted)
    assert mail.facts["iban"].replace(" ", "") == QR_IBAN
    lines = mail.facts["swiss_qr"].split("\n")
    assert lines[3:11] == [QR_IBAN, "S", "Annas Antiquariat", *ADDRESS.values()]
    assert lines[18:20] == ["1284.60", "CHF"]
    assert lines[27:29] == ["QRR", wanted]
    assert mail.facts["girocode"] == ""
    message = preview_mail(mail)
    assert [image.content_id for image in message.inline] == ["swissqr@kontor"]
    assert grouped_reference(wanted) in message.text and grouped_reference(wanted) in message.html


@pytest.mark.feature("K19")
def test_a_posting_with_the_qr_reference_pays_the_order(merchant, shop):
    order, other = swiss_order(shop), swiss_order(shop)
    import_camt(merchant, qr_reference(order.payment_reference))
    assert order.payment_status == "paid"
    assert other.payment_status == "unpaid"
    assert db.session.query(BankAccount).count() == 1


@pytest.mark.feature("K19")
def test_an_account_whose_only_name_is_a_qr_iban_asks_and_finds_too(app):
    merchant = make_merchant(account=False)
    add_account(
        merchant.id,
        AccountTerms(
            QR_IBAN, creditor_name="Annas Antiquariat", currency="CHF", creditor_address=ADDRESS
        ),
    )
    order = swiss_order(make_shop(merchant))
    wanted = qr_reference(order.payment_reference)
    assert mail_of(order).facts["swiss_qr"].split("\n")[27:29] == ["QRR", wanted]
    import_camt(merchant, wanted, iban=QR_IBAN)
    assert order.payment_status == "paid"


@pytest.mark.feature("K19", "S18")
def test_the_order_may_come_after_its_qr_reference(merchant, shop):
    order = swiss_order(shop)
    posting = make_posting(
        merchant, "1284.60", None, creditor_reference=qr_reference(order.payment_reference)
    )
    assert order.payment_reference in posting_keys(facts_of(posting, posting.amount))


@pytest.mark.feature("K19", "K40")
def test_the_rest_is_asked_for_with_the_same_reference(merchant, shop):
    order = swiss_order(shop)
    posting = make_posting(merchant, "1000.00", "Teil", currency="CHF")
    assign(merchant.id, posting.id, [(order.id, posting.amount)], actor="anna", at=AT)
    facts = mail_of(order, "partially_paid").facts
    first = mail_of(order).facts
    assert facts["payment_reference"] == first["payment_reference"]
    assert facts["swiss_qr"] == first["swiss_qr"].replace("1284.60", "284.60")


@pytest.mark.feature("K19")
def test_from_abroad_nobody_can_pay_to_a_qr_iban(shop):
    order = swiss_order(shop, country="DE")
    facts = mail_of(order).facts
    assert facts["iban"].replace(" ", "") == SWISS_IBAN
    assert facts["payment_reference"] == order.payment_reference


@pytest.mark.feature("K19", "N12")
@pytest.mark.parametrize("kind", ["own", "rf"])
def test_a_plain_swiss_iban_takes_the_reference_that_is_set(merchant, shop, kind):
    account = db.session.query(BankAccount).one()
    change_account(
        merchant.id,
        account.id,
        AccountTerms(SWISS_IBAN, creditor_name="Annas Antiquariat", creditor_address=ADDRESS),
    )
    change_setting(merchant.id, "reference_kind", kind, actor="anna", at=AT)
    order = swiss_order(shop)
    own = order.payment_reference
    wanted = {"own": ["NON", "", own], "rf": ["SCOR", creditor_reference(own), ""]}
    assert mail_of(order).facts["swiss_qr"].split("\n")[27:30] == wanted[kind]


@pytest.mark.feature("K19", "S61")
def test_the_customers_page_shows_the_swiss_code(client, shop):
    order = swiss_order(shop)
    path = re.sub(r"^https?://[^/]+", "", page_url(order))
    page = client.get(path).text
    assert grouped_reference(qr_reference(order.payment_reference)) in page
    assert "Swiss QR Code" in page and "<dt>Referenz</dt>" in page
    picture = client.get(f"{path}/qr.png")
    assert picture.mimetype == "image/png" and picture.data.startswith(b"\x89PNG")


@pytest.mark.feature("K19", "K50")
def test_members_of_a_shared_account_ask_as_its_owner_does(merchant):
    merchant.is_operator = True
    shared = db.session.query(BankAccount).one()
    share_account(merchant, shared.id)
    member = make_merchant("Bobs Bohrer", account=False)
    row = add_member(merchant, shared.id, member.id)
    db.session.commit()
    assert (row.creditor_address, row.qr_iban) == (ADDRESS, QR_IBAN)
    moved = TERMS.creditor_address | {"city": "Bern", "postcode": "3000"}
    change_account(
        merchant.id,
        shared.id,
        AccountTerms(SWISS_IBAN, creditor_name="Annas Antiquariat", creditor_address=moved),
    )
    db.session.commit()
    assert (row.creditor_address["city"], row.qr_iban) == ("Bern", None)
