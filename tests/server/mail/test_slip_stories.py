"""The payment slip in the mail is that of the customer's country and of the account."""

from __future__ import annotations

import pytest

from server.banking.service import AccountTerms, add_account
from server.db import db
from server.mail.models import Mail
from server.mail.service import preview_mail
from server.merchants.service import change_setting
from tests.factories import AT, IBAN, make_merchant, make_order, make_shop

SWISS_IBAN = "CH9300762011623852957"


@pytest.fixture
def shop(app):
    merchant = make_merchant(account=False)
    shop = make_shop(merchant)
    add_account(merchant.id, AccountTerms(IBAN, "", "Annas Antiquariat"))
    swiss = AccountTerms(
        SWISS_IBAN, "", "Annas Antiquariat", currency="CHF", for_currencies=["CHF"]
    )
    add_account(merchant.id, swiss)
    return shop


def written(shop, country, **over):
    address = {
        "first_name": "Resi",
        "last_name": "Muster",
        "country": country,
        "city": "Musterstadt",
    }
    order = make_order(shop, billing_address=address, **over)
    mail = db.session.query(Mail).filter_by(order_id=order.id, kind="payment_information").one()
    return mail, preview_mail(mail)


@pytest.mark.feature("K18", "S62")
@pytest.mark.parametrize(
    ("country", "shown"), [("DE", "SEPA-Überweisung"), ("AT", "Zahlungsanweisung")]
)
def test_in_germany_a_transfer_in_austria_a_zahlungsanweisung(shop, country, shown):
    mail, message = written(shop, country)
    assert shown in message.html
    assert [image.content_id for image in message.inline] == ["girocode@kontor"]
    assert mail.facts["swiss_qr"] == ""


@pytest.mark.feature("K18", "K19", "S62")
def test_francs_are_paid_with_the_payment_part_of_the_qr_bill(shop):
    change_setting(shop.merchant_id, "address_form", "informal", actor="anna", at=AT)
    mail, message = written(shop, "CH", currency="CHF", total="1284.60")
    assert mail.language == "de-CH-du"
    assert "Zahlteil" in message.html
    assert "CHF\u00a01’284.60" in message.text
    for form in (message.text, message.html):
        assert "CH93 0076 2011 6238 5295 7" in form
        assert "SEPA" not in form


@pytest.mark.feature("K15", "K16", "N12")
def test_a_reference_that_banks_check_is_told_to_be_one(shop):
    assert written(shop, "DE", external_id="1")[0].facts["is_structured"] == ""
    change_setting(shop.merchant_id, "reference_kind", "rf", actor="anna", at=AT)
    mail, _ = written(shop, "DE", external_id="2")
    assert mail.facts["payment_reference"].startswith("RF")
    assert mail.facts["is_structured"] == "yes"
    assert f"\n{mail.facts['payment_reference']}\n" in mail.facts["girocode"] + "\n"
