"""What is open: shops of several styles with customers, numbers, prices and invoices.

Orders are dicts in the wire format. A shop also knows what no file tells: which numbers are gone
(paid long ago or by another way), whose account is whose, and what is still free to be paid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from random import Random
from typing import Any, Final

from bench.matching import names, wording
from bench.matching.names import Person

Order = dict[str, Any]

TODAY: Final = date(2026, 11, 20)
OLDEST_ORDER_DAYS: Final = 45
CLOSED_SHARE: Final = 0.15
PARTLY_PAID_SHARE: Final = 0.03
SEVERAL_ORDERS_SHARE: Final = 0.04
"""Customers with 2 to 4 orders; they hold about a tenth of all orders."""
TWIN_SHARE: Final = 0.15
"""Of those customers: ordered exactly the same twice."""
HISTORY_SHARE: Final = 0.2
ARTICLES: Final = 500
TERMS: Final = ((2, 10), (2, 10), (3, 14))
CENT: Final = Decimal("0.01")
CODE_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ3789"
ACCOUNT_IBANS: Final = {"EUR": "DE89370400440532013000", "CHF": "CH9300762011623852957"}


@dataclass(frozen=True)
class Style:
    """A kind of shop. ``numbers(rng, count)`` gives ascending order numbers, gone ones included."""

    name: str
    numbers: Callable[[Random, int], list[str]]
    price: Callable[[Random], Decimal]
    invoice: Callable[[int], str] | None
    invoice_share: float = 0.6
    open_orders: int | None = None
    gone_share: float = 0.25
    company_share: float = 0.12
    terms_share: float = 0.04
    several_share: float = SEVERAL_ORDERS_SHARE
    household_share: float = 0.01
    history_share: float = HISTORY_SHARE
    chf_share: float = 0.0


@dataclass
class Customer:
    """Somebody who orders; ``household`` is equal for people with one bank account."""

    number: str
    person: Person
    iban: str
    email: str
    address: dict[str, str]
    household: int
    account_holder: Person
    terms: tuple[int, int] | None = None
    """Cash discount in percent, and the days it is granted for."""
    has_history: bool = False
    orders: list[Order] = field(default_factory=list)


@dataclass
class Shop:
    """A shop at one moment. ``free`` are the open orders no posting pays yet."""

    style: Style
    rng: Random
    today: date
    orders: list[Order]
    customers: list[Customer]
    gone: list[str]
    history: list[dict[str, str]]
    by_number: dict[str, Order] = field(default_factory=dict)
    by_core: dict[str, Order] = field(default_factory=dict)
    """By number without the shop's prefix."""
    owner: dict[str, Customer] = field(default_factory=dict)
    free: list[Order] = field(default_factory=list)
    open_orders: list[Order] = field(default_factory=list)
    closed: list[Order] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.by_number = {order["number"]: order for order in self.orders}
        self.by_core = {wording.core(order["number"]): order for order in self.orders}
        for customer in self.customers:
            for order in customer.orders:
                self.owner[order["number"]] = customer
        self.free = [order for order in self.orders if is_open(order)]
        self.rng.shuffle(self.free)
        self.open_orders = list(self.free)
        self.closed = [order for order in self.orders if not is_open(order)]

    def take(self, fits: Callable[[Order], bool] | None = None) -> Order | None:
        """An open order that no posting pays yet, or None if there is none (that fits)."""
        for at in range(len(self.free) - 1, -1, -1):
            if fits is None or fits(self.free[at]):
                return self.free.pop(at)
        return None

    def customer(self, order: Order) -> Customer:
        return self.owner[order["number"]]


def is_open(order: Order) -> bool:
    return order["payment_status"] in {"unpaid", "partially_paid"}


def owed(order: Order) -> Decimal:
    """What the order still owes."""
    return _difference(order["total"], order["paid_total"])


@cache
def _difference(total: str, paid_total: str) -> Decimal:
    return Decimal(total) - Decimal(paid_total)


def ordered_date(order: Order) -> date:
    return _day(order["ordered_at"][:10])


_day: Final = cache(date.fromisoformat)


def rounded(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


# --- Numbers ----------------------------------------------------------------------------------


def _sequence(
    prefix: str, first: int, width: int = 0, spread: int | None = None
) -> Callable[[Random, int], list[str]]:
    def numbers(rng: Random, count: int) -> list[str]:
        start = first + rng.randrange(spread or first // 4)
        return [f"{prefix}{start + at:0{width}}" for at in range(count)]

    return numbers


def _random_codes(prefix: str) -> Callable[[Random, int], list[str]]:
    def numbers(rng: Random, count: int) -> list[str]:
        codes: dict[str, None] = {}
        while len(codes) < count:
            codes["".join(rng.choices(CODE_LETTERS, k=5))] = None
        return [prefix + code for code in codes]

    return numbers


def _marketplace(rng: Random, count: int) -> list[str]:
    """As marketplaces number: two digits that rise slowly, the rest as good as random."""
    return [marketplace_number(rng, 10 + at * 4 // count) for at in range(count)]


def marketplace_number(rng: Random, lead: int) -> str:
    return f"{lead:02}-{rng.randrange(10**5):05}-{rng.randrange(10**5):05}"


# --- Prices -----------------------------------------------------------------------------------


def _catalogue(*, ends: tuple[str, ...]) -> Callable[[Random], Decimal]:
    """Prices as shops have them: few articles sell most, half of the baskets hold several.

    About half of a shop's 2,000 open orders share their sum with another one.
    """
    maker = Random("catalogue")
    articles = [
        Decimal(4 + int(maker.lognormvariate(3.1, 0.9))) + Decimal(maker.choice(ends))
        for _ in range(ARTICLES)
    ]
    shares = [(rank + 3) ** -0.75 for rank in range(ARTICLES)]

    def price(rng: Random) -> Decimal:
        pieces = rng.choices((1, 2, 3, 4, 6), weights=(44, 28, 15, 9, 4))[0]
        basket = sum(rng.choices(articles, shares, k=pieces), Decimal(0))
        if rng.random() < 0.1:
            basket = rounded(basket * rng.choice((Decimal("0.9"), Decimal("0.95"))))
        return basket + rng.choice((Decimal(0), Decimal("3.90"), Decimal("4.90"), Decimal("5.95")))

    return price


def _few_prices(rng: Random) -> Decimal:
    if rng.random() < 0.8:
        prices = ("19.90", "29.90", "39.00", "49.90", "79.00", "99.00")
        return Decimal(rng.choices(prices, weights=(30, 25, 15, 14, 10, 6))[0])
    return shop_prices(rng)


def _net_prices(rng: Random) -> Decimal:
    """Business to business: net sums of any size plus 19 % tax."""
    net = Decimal(rng.choice((1, 1, 2, 5))) * rounded(Decimal(str(rng.lognormvariate(5.2, 0.9))))
    return rounded(net * Decimal("1.19"))


shop_prices: Final = _catalogue(ends=(".90", ".90", ".95", ".99", ".00", ".50", ".45"))


# --- Styles -----------------------------------------------------------------------------------


def _plain_invoice(prefix: str, first: int, width: int = 0) -> Callable[[int], str]:
    return lambda at: f"{prefix}{first + at:0{width}}"


STYLES: Final = {
    style.name: style
    for style in (
        Style("seq5", _sequence("", 18000), shop_prices, _plain_invoice("RE-", 40001)),
        Style("prefixed", _sequence("SHOP-", 20000), shop_prices, _plain_invoice("SHOP-R", 40001)),
        Style("codes", _random_codes(""), shop_prices, _plain_invoice("R", 100231)),
        Style(
            "prefixed_codes", _random_codes("KUNST-"), shop_prices, _plain_invoice("2026/", 1, 5)
        ),
        Style("year", _sequence("2026-1", 3800, 5), shop_prices, _plain_invoice("RE-2026-", 1, 5)),
        Style(
            "long",
            _sequence("1000", 204000, 6),
            shop_prices,
            _plain_invoice("9000", 118000, 6),
            invoice_share=0.9,
        ),
        Style("digits4", _sequence("", 1400), shop_prices, None, gone_share=0.1),
        Style(
            "equal_prices",
            _sequence("B", 51000),
            _few_prices,
            _plain_invoice("F", 7001),
            gone_share=0.1,
        ),
        Style(
            "b2b",
            _sequence("AB", 60200),
            _net_prices,
            _plain_invoice("RE2026-", 1, 5),
            invoice_share=1.0,
            company_share=0.85,
            terms_share=0.6,
            several_share=0.12,
            history_share=0.5,
        ),
        Style(
            "families",
            _sequence("", 31000),
            shop_prices,
            _plain_invoice("RE", 7001),
            household_share=0.12,
            history_share=0.6,
        ),
        Style("marketplace", _marketplace, shop_prices, _plain_invoice("MP-", 5001)),
        Style(
            "small",
            _sequence("#", 1040),
            shop_prices,
            _plain_invoice("2026-", 101, 4),
            open_orders=60,
        ),
        Style(
            "two_currencies",
            _sequence("S", 24100),
            shop_prices,
            _plain_invoice("RG", 30001),
            chf_share=0.35,
        ),
        Style(
            "same_range",
            _sequence("", 22000, spread=100),
            shop_prices,
            lambda at: str(22300 + at),
            invoice_share=0.9,
        ),
    )
}


# --- Building a shop --------------------------------------------------------------------------


def build(style: Style, rng: Random, open_orders: int, today: date = TODAY) -> Shop:
    """A shop of this style with so many open orders, and closed ones beside them."""
    known = round(open_orders * (1 + CLOSED_SHARE))
    drawn = style.numbers(rng, round(known / (1 - style.gone_share)))
    kept = set(rng.sample(range(len(drawn)), known))
    numbers = [number for at, number in enumerate(drawn) if at in kept]
    gone = [number for at, number in enumerate(drawn) if at not in kept]
    customers = _customers(style, rng, numbers)
    orders = _orders(style, rng, customers, numbers, today)
    _close(rng, orders, open_orders)
    history = _history(rng, customers, gone, today)
    return Shop(style, rng, today, orders, customers, gone, history)


def _customers(style: Style, rng: Random, order_numbers: list[str]) -> list[Customer]:
    """Who made these orders; each stands in the list once an order."""
    customers: list[Customer] = []
    first_number = _first_customer_number(rng, order_numbers)
    while len(customers) < len(order_numbers):
        number = str(first_number + len(customers))
        customer = _customer(style, rng, number, len(customers))
        customers.append(customer)
        if not customer.person.company and rng.random() < style.household_share:
            customers.append(_relative(rng, customer, str(first_number + len(customers))))
        if rng.random() < style.several_share:
            customers += [customer] * rng.choices((1, 2, 3, 5), weights=(60, 25, 12, 3))[0]
    rng.shuffle(customers)
    return customers[: len(order_numbers)]


def _first_customer_number(rng: Random, order_numbers: list[str]) -> int:
    """In half of the shops customers are numbered in the same range as orders."""
    first = wording.core(order_numbers[0])
    if rng.random() < 0.5 and first.isdigit():
        return int(first) + rng.randrange(-500, 500)
    return rng.choice((10000, 20000, 70000))


def _customer(style: Style, rng: Random, number: str, household: int) -> Customer:
    is_company = rng.random() < style.company_share
    who = names.company(rng) if is_company else names.person(rng)
    country = rng.choices(("DE", "AT", "CH", "NL"), weights=(90, 5, 3, 2))[0]
    return Customer(
        number=number,
        person=who,
        iban=names.iban(rng, country),
        email=_email(rng, who, number),
        address=_address(rng, who, country),
        household=household,
        account_holder=who,
        terms=rng.choice(TERMS) if rng.random() < style.terms_share else None,
        has_history=rng.random() < style.history_share,
    )


def _email(rng: Random, who: Person, number: str) -> str:
    first, last = (wording.key(name) for name in (who.first_name, who.last_name))
    kind = rng.random()
    if kind < 0.4:
        return f"{first}.{last}{number[-2:]}@example.org"
    return f"{first[:1]}{last}{number[-3:]}@example.com" if kind < 0.7 else f"c{number}@example.org"


def _address(rng: Random, who: Person, country: str) -> dict[str, str]:
    return {
        "first_name": f"{who.title} {who.first_name}".strip(),
        "last_name": who.last_name,
        "company": who.company,
        "street": f"{names.skewed(rng, names.STREETS)} {rng.randrange(1, 140)}",
        "postcode": f"{rng.randrange(1000, 99999):05}",
        "city": names.skewed(rng, names.CITIES),
        "country": country,
    }


def _relative(rng: Random, customer: Customer, number: str) -> Customer:
    """Somebody of the same family who pays from the same account."""
    who = names.person(rng, customer.person.last_name)
    return Customer(
        number=number,
        person=who,
        iban=customer.iban,
        email=_email(rng, who, number),
        address={**customer.address, "first_name": who.first_name},
        household=customer.household,
        account_holder=customer.person,
        has_history=customer.has_history,
    )


def _orders(
    style: Style, rng: Random, customers: list[Customer], numbers: list[str], today: date
) -> list[Order]:
    days = sorted((rng.randrange(1, OLDEST_ORDER_DAYS) for _ in numbers), reverse=True)
    orders = []
    for at, (number, customer, ago) in enumerate(zip(numbers, customers, days, strict=True)):
        order = _order(style, rng, customer, number, today - timedelta(ago))
        order["external_id"] = str(100000 + at)
        if style.invoice and rng.random() < style.invoice_share:
            invoice_date = min(ordered_date(order) + timedelta(rng.randrange(0, 3)), today)
            order["invoices"] = [{"number": style.invoice(at), "date": str(invoice_date)}]
        customer.orders.append(order)
        orders.append(order)
    return orders


def _order(style: Style, rng: Random, customer: Customer, number: str, on: date) -> Order:
    currency = "CHF" if rng.random() < style.chf_share else "EUR"
    is_twin = customer.orders and rng.random() < TWIN_SHARE
    total = Decimal(customer.orders[-1]["total"]) if is_twin else style.price(rng)
    terms = customer.terms
    order: Order = {
        "external_id": "",
        "number": number,
        "ordered_at": f"{on}T{rng.randrange(7, 23):02}:{rng.randrange(60):02}:00+01:00",
        "currency": customer.orders[-1]["currency"] if is_twin else currency,
        "total": str(total),
        "payment_code": "invoice" if terms or rng.random() < 0.3 else "prepayment",
        "payment_status": "unpaid",
        "paid_total": "0.00",
        "payment_terms": None
        if terms is None
        else {"discount_percent": str(terms[0]), "discount_days": terms[1], "net_days": 30},
        "customer": {"number": customer.number, "email": customer.email, "language": "de"},
        "billing_address": customer.address,
        "invoices": [],
        "references": _references(rng),
    }
    if rng.random() < 0.06:
        order["shipping_address"] = _address(rng, names.person(rng), "DE")
    return order


def _references(rng: Random) -> list[str]:
    """What the shop knows an order by as well: its own code for the bank, a marketplace's id."""
    kind = rng.random()
    if kind < 0.08:
        return ["".join(rng.choices(CODE_LETTERS, k=8))]
    if kind < 0.12:
        return [marketplace_number(rng, rng.randrange(10, 28))]
    if kind < 0.15:
        return [f"PO-{rng.randrange(4500000000, 4500999999)}"]
    return []


def _close(rng: Random, orders: list[Order], open_orders: int) -> None:
    """So many orders stay open (some of them partly paid), the others are paid or cancelled."""
    for order in rng.sample(orders, len(orders) - open_orders):
        is_paid = rng.random() < 0.7
        order["payment_status"] = "paid" if is_paid else "cancelled"
        order["paid_total"] = order["total"] if is_paid else "0.00"
    for order in orders:
        if order["payment_status"] == "unpaid" and rng.random() < PARTLY_PAID_SHARE:
            share = rng.choice((Decimal("0.5"), Decimal("0.3"), Decimal("0.8")))
            order["payment_status"] = "partially_paid"
            order["paid_total"] = str(rounded(Decimal(order["total"]) * share))


def _history(
    rng: Random, customers: list[Customer], gone: list[str], today: date
) -> list[dict[str, str]]:
    """Earlier payments that were confirmed, one to four a customer."""
    lines = []
    for customer in {customer.number: customer for customer in customers}.values():
        if not customer.has_history:
            continue
        for _ in range(rng.choices((1, 2, 4), weights=(6, 3, 1))[0]):
            holder = customer.account_holder
            lines.append(
                {
                    "counterparty_iban": customer.iban,
                    "counterparty_name": holder.company
                    or f"{holder.first_name} {holder.last_name}",
                    "customer_number": customer.number,
                    "customer_email": customer.email,
                    "order": rng.choice(gone) if gone else "0",
                    "booked_date": str(today - timedelta(rng.randrange(60, 700))),
                }
            )
    return lines
