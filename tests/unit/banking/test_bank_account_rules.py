"""Which account a customer is asked to pay to, and whose account a file speaks of."""

import pytest

from server.banking.rules.accounts import Payee, choose_payee, is_account

EURO = Payee("DE89370400440532013000", "COBADEFFXXX", "Anna")
SWISS = Payee("CH9300762011623852957", "", "Anna", "CHF")
AUSTRIA = Payee("AT611904300234573201", "", "Anna", for_countries=frozenset({"AT", "IT"}))
OUTLET = Payee("DE02120300000000202051", "", "Anna Outlet", for_shops=frozenset({7}))
POUND = Payee("GB29NWBK60161331926819", "", "Anna", "GBP", for_currencies=frozenset({"GBP"}))


def chosen(*payees, shop_id=1, country="DE", currency="EUR"):
    return choose_payee(payees, shop_id=shop_id, country=country, currency=currency)


@pytest.mark.feature("S20", "K17", "K51")
@pytest.mark.parametrize(
    ("order", "account"),
    [
        ({}, EURO),
        ({"country": "CH", "currency": "CHF"}, SWISS),
        ({"country": "DE", "currency": "CHF"}, SWISS),
        ({"country": "CH", "currency": "EUR"}, EURO),
        ({"country": "AT"}, AUSTRIA),
        ({"country": "at"}, AUSTRIA),
        ({"country": None}, EURO),
        ({"shop_id": 7}, OUTLET),
        ({"shop_id": 7, "country": "AT"}, OUTLET),
        ({"country": "GB", "currency": "GBP"}, POUND),
        ({"country": "DE", "currency": "USD"}, EURO),
    ],
)
def test_the_account_that_was_meant_most_closely(order, account):
    everything = (EURO, SWISS, AUSTRIA, OUTLET, POUND)
    assert chosen(*everything, **order) == account
    assert chosen(*reversed(everything), **order) == account


def test_of_two_equal_ones_the_first():
    other = Payee("DE02120300000000202051", "", "Anna")
    assert (chosen(EURO, other), chosen(other, EURO)) == (EURO, other)


@pytest.mark.feature("K51")
def test_nobody_is_asked_to_pay_to_an_account_that_is_not_for_him():
    assert chosen(AUSTRIA, OUTLET, POUND, country="FR") is None
    assert chosen() is None


@pytest.mark.parametrize(
    ("iban", "printed", "fits"),
    [
        ("DE02120300000000202051", "12030000/0000202051", True),
        ("DE02120300000000202051", "12030000/202051EUR", True),
        ("DE02120300000000202051", "DE02 1203 0000 0000 2020 51", True),
        ("DE02120300000000202051", "DE02120300000000202051EUR", True),
        ("DE02120300000000202051", "0000202051", True),
        ("DE02120300000000202051", "37040044/0000202051", False),
        ("DE02120300000000202051", "51", False),
        ("DE02120300000000202051", "12030000/0000202052", False),
        ("DE02120300000000202051", "PayPal", False),
        ("CH9300762011623852957", "0762/11623852957", True),
        ("DE02120300000000202051", "00000000", False),
    ],
)
def test_an_account_as_banks_print_it(iban, printed, fits):
    assert is_account(iban, printed) is fits
