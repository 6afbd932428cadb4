"""What must not be booked by itself: strangers, returns, payouts, closed orders."""

from __future__ import annotations

from decimal import Decimal

from bench.matching import names, wording
from bench.matching.noise.draft import (
    MAX_TRIES,
    Draft,
    elsewhere,
    in_turn,
    is_known_number,
    kind,
    ordinary,
    paying,
    stranger,
    unlike_any,
)
from bench.matching.orders import (
    CENT,
    Order,
    Shop,
    is_open,
    marketplace_number,
    owed,
    rounded,
)


@kind(0.6, 3)
def duplicate(shop: Shop) -> list[Draft]:
    """Paid twice by mistake; the second time nothing is owed."""
    order = shop.take()
    if not order:
        return []
    # Well written, so that which of the two is booked does not hang on how it is written.
    text = f"{shop.rng.choice(wording.LEADS)} {order['number']}"
    first = paying(shop, order, text)
    second = paying(shop, order, text, name=first.name, iban=first.iban, booked={})
    second.on = first.on
    if shop.rng.random() < 0.3:
        second.text = ordinary(shop, order)
    return in_turn(shop, [first, second])


def _closed(shop: Shop, status: str) -> list[Draft]:
    closed = [order for order in shop.closed if order["payment_status"] == status]
    if not closed:
        return []
    order = shop.rng.choice(closed)
    amount = Decimal(order["total"])
    return [paying(shop, order, ordinary(shop, order), amount=amount, booked={})]


@kind(0.6)
def already_paid(shop: Shop) -> list[Draft]:
    """Names an order that was paid before."""
    return _closed(shop, "paid")


@kind(0.4)
def cancelled(shop: Shop) -> list[Draft]:
    """Names an order that was cancelled: a person decides."""
    return _closed(shop, "cancelled")


@kind(0.3)
def already_paid_unnamed(shop: Shop) -> list[Draft]:
    """No number; name and amount are those of an order that was paid before."""
    drafts = _closed(shop, "paid")
    for draft in drafts:
        draft.text = shop.rng.choice(wording.PLAIN_WORDS) or None
    return drafts if not drafts or not _looks_open(shop, drafts[0]) else []


def _looks_open(shop: Shop, draft: Draft) -> bool:
    name = wording.key(draft.name or "")
    return any(
        wording.key(shop.customer(order).person.last_name) in name
        for order in shop.open_orders
        if owed(order) == draft.amount
    )


def _foreign_text(shop: Shop) -> str | None:
    """What strangers write for reasons of their own; numbers may be like ours."""
    rng = shop.rng
    number = rng.choice(shop.open_orders)["number"]
    near = rng.choice((number, wording.core(number), str(rng.randrange(10**4, 10**6))))
    return rng.choice(
        (
            f"Kundennummer {near} Beitrag {rng.choice(wording.MONTHS)}",
            f"KD {near} Vertrag {rng.randrange(10**6, 10**7)}",
            f"Vertragskonto {rng.randrange(10**8, 10**9)}",
            f"Mitgliedsnummer {near}",
            f"Spende {near}",
            f"Tel. 0{rng.randrange(151, 9000)} {rng.randrange(10**5, 10**7)}",
            f"TAN {rng.randrange(10**6):06} DATUM {shop.today:%d.%m.%Y}, 10.47 UHR",
            f"Auslagen {rng.choice(wording.MONTHS)} 2026",
            "Darlehen Rate",
            "privat",
            "Kaution Wohnung",
            "Miete Lager",
            f"Flohmarkt Stand {rng.randrange(1, 200)}",
            f"ebay Artikel {rng.randrange(10**11, 10**12)}",
            None,
        )
    )


@kind(1.8)
def foreign(shop: Shop) -> list[Draft]:
    """Money that has nothing to do with an order, with numbers like ours in its text."""
    amount = shop.style.price(shop.rng)
    while any(amount == owed(order) for order in shop.open_orders):
        amount += CENT * shop.rng.randrange(1, 90)
    who = stranger(shop, amount)
    name = wording.full_name(names.company(shop.rng) if shop.rng.random() < 0.4 else who)
    return [elsewhere(shop, amount, name, _foreign_text(shop))]


@kind(0.8)
def foreign_equal_amount(shop: Shop) -> list[Draft]:
    """The same, and the sum happens to be what one open order owes."""
    order = shop.rng.choice(shop.open_orders)
    amount = owed(order)
    name = wording.full_name(stranger(shop, amount))
    text = _foreign_text(shop)
    for _ in range(MAX_TRIES):
        if text is None or not _quotes_amount(shop, text, amount):
            break
        text = _foreign_text(shop)
    return [elsewhere(shop, amount, name, text, currency=order["currency"])]


def _quotes_amount(shop: Shop, text: str, amount: Decimal) -> bool:
    """Does the text name an open order that owes this much?"""
    return any(
        wording.core(order["number"]) in text for order in shop.open_orders if owed(order) == amount
    )


@kind(0.3, 6)
def gone_number(shop: Shop) -> list[Draft]:
    """An order the shop does not know any more."""
    if not shop.gone:
        return []
    amount = shop.style.price(shop.rng)
    text = f"{shop.rng.choice(wording.LEADS)} {shop.rng.choice(shop.gone)}"
    return [elsewhere(shop, amount, wording.full_name(stranger(shop, amount)), text)]


@kind(0.3, 6)
def gone_typo(shop: Shop) -> list[Draft]:
    """An unknown order's number with a slip in it."""
    if not shop.gone:
        return []
    amount = shop.style.price(shop.rng)
    for _ in range(MAX_TRIES):
        typed = wording.substituted(shop.rng, shop.rng.choice(shop.gone))
        order = shop.by_number.get(typed)
        if order is None or owed(order) != amount:
            break
    text = f"{shop.rng.choice(wording.LEADS)} {typed}"
    return [elsewhere(shop, amount, wording.full_name(stranger(shop, amount)), text)]


@kind(0.4, 6)
def gone_same_name(shop: Shop) -> list[Draft]:
    """An unknown number next to an open order of somebody with the same family name."""
    for _ in range(MAX_TRIES):
        pair = _gone_neighbour(shop)
        if pair is None:
            return []
        number, order = pair
        customer = shop.customer(order)
        if not customer.person.company:
            amount = unlike_any(shop, customer)
            payer = names.person(shop.rng, customer.person.last_name)
            text = f"{shop.rng.choice(wording.LEADS)} {number}"
            name = wording.common_name(shop.rng, payer)
            return [elsewhere(shop, amount, name, text, currency=order["currency"])]
    return []


@kind(0.4, 6)
def gone_same_price(shop: Shop) -> list[Draft]:
    """An unknown number next to an open order that owes the same; the name is another."""
    pair = _gone_neighbour(shop)
    if pair is None:
        return []
    number, order = pair
    amount = owed(order)
    text = f"{shop.rng.choice(wording.LEADS)} {number}"
    name = wording.common_name(shop.rng, stranger(shop, amount))
    return [elsewhere(shop, amount, name, text, currency=order["currency"])]


def _gone_neighbour(shop: Shop) -> tuple[str, Order] | None:
    """A number the shop does not know and an open order one slip away from it."""
    slips = (wording.substituted, wording.swapped)
    for _ in range(MAX_TRIES if shop.gone else 0):
        number = shop.rng.choice(shop.gone)
        order = shop.by_number.get(shop.rng.choice(slips)(shop.rng, number))
        if order is not None and is_open(order):
            return number, order
    order = shop.rng.choice(shop.open_orders)
    for _ in range(MAX_TRIES):
        number = wording.substituted(shop.rng, order["number"])
        if not is_known_number(shop, number):
            return number, order
    return None


@kind(0.5)
def stranger_quotes(shop: Shop) -> list[Draft]:
    """An open order's number with another sum and another name."""
    order = shop.rng.choice(shop.open_orders)
    total = Decimal(order["total"])
    for _ in range(MAX_TRIES):
        amount = shop.style.price(shop.rng)
        if not total * Decimal("0.7") < amount < total * Decimal("1.3") + 6:
            break
    who = stranger(shop, amount)
    if wording.key(who.last_name) == wording.key(shop.customer(order).person.last_name):
        return []
    name = wording.common_name(shop.rng, who)
    text = f"{shop.rng.choice((*wording.LEADS, ''))} {order['number']}".strip()
    return [elsewhere(shop, amount, name, text, currency=order["currency"])]


@kind(0.6)
def refund_returned(shop: Shop) -> list[Draft]:
    """A refund of ours that could not be delivered comes back with our own text."""
    order = shop.rng.choice(
        shop.closed if shop.closed and shop.rng.random() < 0.6 else shop.open_orders
    )
    reference = shop.rng.choice((f"ER-{order['number']}", order["number"], f"REF{order['number']}"))
    reason = shop.rng.choice(("Konto erloschen", "AC04", "Empfaenger unbekannt", "IBAN fehlerhaft"))
    word = shop.rng.choice(
        ("RETOURE", "RUECKUEBERWEISUNG", "Rückläufer", "RETURN", "SEPA-RUECKUEB.")
    )
    text = shop.rng.choice(
        (
            f"{word} EREF+{reference} {reason}",
            f"{word} {reason} SVWZ+Erstattung {order['number']}",
            f"{word} Erstattung {order['number']} {reason}",
        )
    )
    draft = paying(shop, order, text, amount=Decimal(order["total"]), booked={})
    if shop.rng.random() < 0.5:
        draft.is_return, draft.return_reason = True, "AC04"
        draft.text = shop.rng.choice((text, f"Erstattung {order['number']}"))
        draft.end_to_end_id = reference
    return [draft]


@kind(0.3)
def own_refund_returned(shop: Shop) -> list[Draft]:
    """A refund of ours goes out and comes back under the same id."""
    order = shop.rng.choice(
        shop.closed if shop.closed and shop.rng.random() < 0.6 else shop.open_orders
    )
    amount = Decimal(order["total"])
    reference = f"{shop.rng.choice(('REF', 'GUT', 'R-', ''))}{order['number']}"
    text = f"Erstattung {order['number']}"
    out = paying(shop, order, text, amount=-amount, booked={}, end_to_end_id=reference)
    out.transaction_code = "PMNT/ICDT/ESCT"
    back = paying(shop, order, text, amount=amount, booked={}, end_to_end_id=reference)
    back.name, back.iban = out.name, out.iban
    back.is_return = shop.rng.random() < 0.4
    if shop.rng.random() < 0.5:
        back.text = f"{shop.rng.choice(('Rueckueberweisung', 'Konto erloschen', 'RETOURE'))} {text}"
    return in_turn(shop, [out, back])


@kind(0.4)
def returned_debit(shop: Shop) -> list[Draft]:
    """A direct debit of ours was given back: money leaves."""
    order = shop.rng.choice(shop.open_orders)
    text = f"RUECKLASTSCHRIFT {order['number']} MS03"
    draft = paying(shop, order, text, amount=-owed(order), booked={})
    draft.is_return = shop.rng.random() < 0.7
    return [draft]


@kind(0.4)
def other_currency(shop: Shop) -> list[Draft]:
    """The right number and sum in a currency that is not the order's."""
    order = shop.rng.choice(shop.open_orders)
    currency = shop.rng.choice(
        [one for one in ("CHF", "USD", "GBP", "EUR") if one != order["currency"]]
    )
    return [paying(shop, order, ordinary(shop, order), currency=currency, booked={})]


@kind(0.6)
def pending(shop: Shop) -> list[Draft]:
    """Not booked yet."""
    order = shop.rng.choice(shop.open_orders)
    draft = paying(shop, order, ordinary(shop, order), booked={}, is_pending=True)
    draft.on = shop.today
    return [draft]


@kind(0.3)
def batch_total(shop: Shop) -> list[Draft]:
    """The sum of several payments the bank does not tell apart."""
    orders = shop.rng.sample(shop.open_orders, min(shop.rng.randrange(2, 7), len(shop.open_orders)))
    amount = sum(map(owed, orders), Decimal(0))
    text = shop.rng.choice(
        (f"SAMMELGUTSCHRIFT {len(orders)} POSTEN", "Sammler", orders[0]["number"])
    )
    return [elsewhere(shop, amount, None, text, is_batch_total=True, iban=None)]


@kind(0.8)
def payout(shop: Shop) -> list[Draft]:
    """What a payment provider or marketplace pays out for many customers."""
    rng = shop.rng
    number = rng.choice(shop.open_orders)["number"]
    name, text = rng.choice(
        (
            (
                "PayPal (Europe) S.a.r.l. et Cie., S.C.A.",
                f"PAYPAL ABBUCHUNG {rng.randrange(10**12)}",
            ),
            ("PayPal Europe S.a.r.l.", f"Gutschrift PayPal 100{rng.randrange(10**8)} /{number}"),
            (
                "Klarna Bank AB (publ)",
                f"KLARNA {rng.randrange(10**9)} SETTLEMENT {rng.randrange(10**6)}",
            ),
            ("KLARNA BANK AB GERMAN BRANCH", f"Auszahlung {number} {rng.randrange(10**8)}"),
            (
                "Stripe Technology Europe Ltd",
                f"STRIPE P{rng.randrange(10**7)} {rng.randrange(10**5)}",
            ),
            ("Stichting Mollie Payments", f"Mollie settlement {rng.randrange(10**6)}.2611.04"),
            (
                "Amazon Payments Europe S.C.A.",
                f"AMZN {rng.randrange(10**9)} {rng.randrange(10**7)}",
            ),
            ("eBay S.a.r.l.", f"eBay Auszahlung {marketplace_number(rng, 14)}"),
            (
                "SumUp Payments Limited",
                f"SUMUP PID{rng.randrange(10**6)} PAYOUT {shop.today:%d%m%y}",
            ),
            ("Adyen N.V.", f"TX{rng.randrange(10**10)}XT batch {rng.randrange(100, 999)}"),
        )
    )
    amount = (
        owed(rng.choice(shop.open_orders))
        if rng.random() < 0.3
        else rounded(Decimal(rng.randrange(2000, 300000)) / 100)
    )
    return [elsewhere(shop, amount, name, text)]


@kind(0.8)
def official(shop: Shop) -> list[Draft]:
    """Wages, taxes, insurance, rent: the merchant's own money."""
    rng = shop.rng
    month = rng.choice(wording.MONTHS)
    name, text = rng.choice(
        (
            (
                f"Finanzamt {names.skewed(rng, names.CITIES)}",
                f"UST-ERSTATTUNG 3.VJ2026 STNR {rng.randrange(10**9)}",
            ),
            ("Bundeskasse", f"KINDERGELD KG{rng.randrange(10**7)} {month.upper()}"),
            (
                "Allianz Versicherungs-AG",
                f"Schaden {rng.randrange(10**8)} Vertrag AS-{rng.randrange(10**9)}",
            ),
            (wording.full_name(names.company(rng)), f"LOHN / GEHALT {month} 2026"),
            ("Stadtwerke", f"Guthaben Jahresabrechnung Vk. {rng.randrange(10**9)}"),
            ("AOK Die Gesundheitskasse", f"ERSTATTUNG U1 {rng.randrange(10**7)}"),
            (wording.full_name(names.person(rng)), f"Miete {month}"),
            ("Deutsche Rentenversicherung", f"RENTE {rng.randrange(10**7)} {month}"),
        )
    )
    amount = (
        owed(rng.choice(shop.open_orders))
        if rng.random() < 0.2
        else rounded(Decimal(rng.randrange(1500, 250000)) / 100)
    )
    return [elsewhere(shop, amount, name, text)]


@kind(1.5)
def outgoing(shop: Shop) -> list[Draft]:
    """What the merchant pays, suppliers' invoice numbers included."""
    rng = shop.rng
    number = rng.choice((str(rng.randrange(10**4, 10**6)), rng.choice(shop.open_orders)["number"]))
    text = rng.choice(
        (f"Rechnung {number}", f"RE-Nr. {number} Kd. {rng.randrange(10**5)}", "Porto")
    )
    amount = -rng.choice((owed(rng.choice(shop.open_orders)), shop.style.price(rng)))
    name = wording.full_name(names.company(rng))
    return [elsewhere(shop, amount, name, text, transaction_code="PMNT/ICDT/ESCT")]
