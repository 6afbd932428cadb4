"""What is decided for a posting: tables of texts and amounts, and what holds for all of them."""

from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.matching.rules import (
    Discount,
    MemoryStore,
    OpenOrder,
    Payer,
    Policy,
    PostingFacts,
    decide,
)
from server.matching.rules.evidence import VETOES
from server.orders.rules import creditor_reference, order_keys

OWN = "HX8J2N9A"
ERIKA = Payer("Erika", "Mustermann")


def make_order(number="ANNA-20017", total="49.90", *, invoice=None, own=None, **over):
    """An open order of Erika Mustermann; tests say only what they are about."""
    payers = over.get("payers", (ERIKA,))
    facts = {
        "id": int("".join(filter(str.isdigit, number)) or "1"),
        "number": number,
        "currency": "EUR",
        "total": Decimal(total),
        "outstanding": Decimal(total),
        "payment_status": "unpaid",
        "ordered_date": date(2026, 11, 2),
        "payers": payers,
        "keys": order_keys(
            number,
            invoice_numbers=[invoice] if invoice else [],
            payment_reference=own,
            names=[payer.last_name for payer in payers],
            people=[(payer.first_name, payer.last_name) for payer in payers],
        ),
    }
    return OpenOrder(**(facts | over))


def make_posting(text="ANNA-20017", amount="49.90", **over):
    facts = {
        "id": 1,
        "amount": Decimal(amount),
        "currency": "EUR",
        "booking_date": date(2026, 11, 5),
        "counterparty_name": "Erika Mustermann",
        "remittance_information": text,
    }
    return PostingFacts(**(facts | over))


def sentences(decision):
    return [evidence.sentence for evidence in decision.evidence]


# Numbers in sequence: every slip of the pen names somebody else's order.
NEIGHBOURS = [
    make_order(
        f"ANNA-200{n:02}",
        f"{20 + n}.35",
        payers=(Payer("Max", f"Nachbar{chr(65 + n // 26)}{chr(65 + n % 26)}"),),
        invoice=f"RE-300{n:02}",
    )
    for n in range(100)
    if n != 17
]
SHOP = [make_order(invoice="RE-30017", own=OWN), *NEIGHBOURS]


def decided(posting, orders=SHOP, **options):
    (decision,) = decide([posting], MemoryStore(orders), **options)
    return decision


def booked(decision):
    return {share.order.number: str(share.amount) for share in decision.shares}


@pytest.mark.feature("K16", "K43")
@pytest.mark.parametrize(
    "text",
    [
        "ANNA-20017",
        "anna 20017",
        "Anna20017",
        "ANNA - 20017 danke",
        "Bestellung ANNA/20017 vom 03.11.2026",
        "Bestellnr.:ANNA.20017 TAN 123456",
        "ANNA-20017 Kd.Nr. 4711081",
        "Rechnung RE-30017",
        "RE30017",
        "Bestellung 20017",
        "Rechnung 30017 MfG",
        "AN\nNA-20017 Erika Must\nermann",
        "Order ANNA-2001\n7 Erika",
        "Order ANNA-2001 7 Erika",
        "vom 03.11.2026ANNA-20017",
        "ANNA-20017 DATUM 05.11.2026, 10.47 UHR",
        "ANNA-20017 IBAN: DE29500105179 22614179699 BIC: WELADE8L",
        "ANNA-20017 49,90 EUR",
        creditor_reference("ANNA-20017"),
        " ".join((creditor_reference("ANNA20017")[:4], "ANNA", "2001", "7")),
        OWN,
        f"{OWN[:4].lower()} {OWN[4:].lower()}",
        f"Zahlung {OWN[:3]}\n{OWN[3:]}",
        creditor_reference(OWN),
    ],
)
def test_an_exact_reference_is_booked_whatever_surrounds_it(text):
    decision = decided(make_posting(text))
    assert (decision.choice, booked(decision)) == ("auto", {"ANNA-20017": "49.90"})
    assert decision.remainder == 0
    assert decision.evidence


@pytest.mark.parametrize("field", ["end_to_end_id", "creditor_reference"])
def test_a_reference_in_another_field_is_booked(field):
    value = creditor_reference("ANNA-20017") if field == "creditor_reference" else "ANNA-20017"
    posting = make_posting(None, **{field: value})
    assert booked(decided(posting)) == {"ANNA-20017": "49.90"}


@pytest.mark.parametrize(
    "text",
    [
        "Miete November",
        "120017",  # a longer number that ends like one
        "200171",
        "Vertrag 98200174411",
        "DE02 1203 0000 0000 2020 51",  # an IBAN
        "DATUM 20.01.2017 20:01",
        "Kundennummer 20017",
        "Tel. 20017",
        "Spende 20017",
        "TAN 20017",
        "",
        None,
    ],
)
def test_digits_that_are_no_reference_are_never_booked(text):
    stranger = make_posting(text, counterparty_name="Bob Fremd")
    assert decided(stranger).choice != "auto"


@pytest.mark.parametrize(
    ("over", "veto"),
    [
        ({"is_return": True}, "return"),
        ({"is_pending": True}, "pending"),
        ({"is_batch_total": True}, "batch_total"),
        ({"currency": "CHF"}, "other_currency"),
        ({"currency": None}, "currency_unknown"),
        ({"remaining": Decimal("20.00")}, "partly_assigned"),
        ({"booking_date": date(2026, 11, 9)}, "booked_in_future"),
        ({"remittance_information": "RETOURE EREF+ER-ANNA-20017 Konto erloschen"}, "return"),
        ({"remittance_information": "Rücküberweisung ANNA-20017"}, "return"),
        ({"remittance_information": "ANNA-20017 Konto\ngesperrt"}, "return"),
        ({"remittance_information": "Storno ANNA-20017"}, "return"),
    ],
)
def test_a_veto_makes_the_surest_match_a_suggestion(over, veto):
    decision = decided(replace(make_posting(), **over), today=date(2026, 11, 6))
    assert decision.choice == "suggest"
    assert veto in decision.vetoes
    assert decision.proposals[0].shares[0].order.number == "ANNA-20017"
    assert decision.shares == () and decision.remainder == decision.posting.available


@pytest.mark.parametrize(
    "status", ["paid", "cancelled", "refunded", "collection", "removed", "not_managed"]
)
def test_an_order_that_is_not_open_is_only_suggested(status):
    order = make_order(payment_status=status)
    decision = decided(make_posting(), [order])
    assert (decision.choice, decision.vetoes) == ("suggest", (f"order_{status}",))


@pytest.mark.parametrize("amount", ["0", "-49.90", None])
def test_no_money_no_decision(amount):
    posting = replace(make_posting(), amount=None if amount is None else Decimal(amount))
    decision = decided(posting)
    assert decision == type(decision)(posting, "none")
    assert decision.remainder == 0


# --- Amounts ---


@pytest.mark.feature("K3")
@pytest.mark.parametrize("amount", ["24.95", "10.00", "49.00", "47.00"])
def test_less_is_a_part_payment(amount):
    assert booked(decided(make_posting(amount=amount))) == {"ANNA-20017": amount}


@pytest.mark.feature("K2")
def test_more_pays_the_order_and_leaves_a_remainder():
    decision = decided(make_posting(amount="55.00"))
    assert booked(decision) == {"ANNA-20017": "49.90"}
    assert decision.remainder == Decimal("5.10")


@pytest.mark.feature("K21")
def test_within_the_tolerance_is_exact():
    policy = Policy(tolerance=Decimal("0.05"))
    less = decided(make_posting("ANNA-20017", "49.85"), policy=policy)
    assert [(str(s.amount), s.because) for s in less.shares] == [("49.85", "tolerance")]
    more = decided(make_posting("ANNA-20017", "49.95"), policy=policy)
    assert [(str(s.amount), s.because) for s in more.shares] == [("49.95", None)]
    assert (more.choice, more.remainder) == ("auto", 0)
    assert decided(make_posting("ANNA-20017", "49.96"), policy=policy).remainder == Decimal("0.06")


def test_early_payment_discount_is_understood():
    order = make_order(total="100.00", discount=Discount(Decimal(2), 14))
    decision = decided(make_posting(amount="98.00"), [order])
    assert booked(decision) == {"ANNA-20017": "98.00"}
    assert "98.00 is 100.00 less 2 % discount = 2.00" in sentences(decision)
    assert decision.shares[0].because == "discount"


@pytest.mark.parametrize("amount", ["729.50", "1.00"])
def test_a_strangers_number_with_a_wild_amount_is_only_suggested(amount):
    decision = decided(make_posting("20017", amount, counterparty_name="Bob Fremd"))
    assert decision.choice == "suggest"


@pytest.mark.parametrize("amount", ["150.00", "4.00"])
def test_an_amount_far_off_is_suggested_unless_the_reference_checks(amount):
    decision = decided(make_posting(amount=amount))
    assert (decision.choice, decision.vetoes) == ("suggest", ("amount_far_off",))
    assert decided(make_posting(OWN, amount)).choice == "auto"


def test_a_strangers_part_payment_needs_more_than_a_number_among_neighbours():
    posting = make_posting("ANNA-20017", "30.00", counterparty_name="Bob Fremd")
    assert decided(posting).choice == "suggest"
    own = replace(posting, remittance_information=OWN)
    assert booked(decided(own)) == {"ANNA-20017": "30.00"}


@pytest.mark.parametrize(("text", "choice"), [("Bestellung 417", "auto"), ("417", "auto")])
def test_a_short_number_is_booked_with_the_exact_amount_and_the_name(text, choice):
    orders = [make_order("417", "49.35"), make_order("418", "12.00", payers=())]
    assert decided(make_posting(text, "49.35"), orders).choice == choice
    assert decided(make_posting(text, "49.35", counterparty_name="Bob"), orders).choice != "auto"
    assert decided(make_posting(text, "30.00"), orders).choice != "auto"


# --- Slips of the pen ---


@pytest.mark.feature("K43")
@pytest.mark.parametrize(
    "text", ["ANNA-20071", "ANNA-2017", "ANNA-20O17", "ANNA ZOOI7", "ANNA-20047", "ANNA-200177"]
)
def test_a_slip_is_booked_where_amount_and_name_leave_no_doubt(text):
    assert booked(decided(make_posting(text))) == {"ANNA-20017": "49.90"}


@pytest.mark.feature("K15")
@pytest.mark.parametrize(
    "written",
    [OWN[1] + OWN[0] + OWN[2:], OWN[:-1], OWN[:4] + "Y" + OWN[5:], OWN.replace("J", "1")],
)
def test_a_slip_in_our_own_reference_is_detected_and_repaired(written):
    assert booked(decided(make_posting(written))) == {"ANNA-20017": "49.90"}
    assert decided(make_posting(written, counterparty_name="Bob Fremd")).choice == "suggest"


def test_a_slip_that_names_a_neighbour_is_not_booked_there():
    """Erika writes 20071, an order of somebody else that would be paid in part by 49.90."""
    decision = decided(make_posting("ANNA-20071", counterparty_name=None))
    assert decision.choice == "suggest"


@pytest.mark.parametrize("pattern", ["{}", "2026-{}", "RE-2026/{}", "10.{}.7"])
def test_a_neighbours_number_of_any_form_is_weighed(pattern):
    """The number written is Max's, name and amount are Erika's one digit beside."""
    erika = make_order(pattern.format("20017", "017"), "49.35", id=1)
    max = make_order(pattern.format("20047", "047"), "99.80", payers=(Payer("Max", "N"),), id=2)
    decision = decided(make_posting(max.number, "49.35"), [erika, max])
    assert max.number not in booked(decision)
    assert decision.proposals == () or decision.proposals[0].shares[0].order == erika


def test_a_slip_onto_an_order_of_the_same_amount_is_not_booked_there():
    other = make_order("ANNA-20016", "49.90", payers=(Payer("Max", "Nachbar"),))
    decision = decided(make_posting("ANNA-20016"), [make_order(), other])
    assert "ANNA-20016" not in booked(decision)


def test_a_wrong_creditor_reference_is_no_check():
    right = creditor_reference("ANNA-20017")
    wrong = right[:2] + f"{(int(right[2:4]) + 1) % 97:02d}" + right[4:]
    posting = make_posting(wrong, "30.00", counterparty_name="Bob Fremd")
    assert decided(replace(posting, remittance_information=right)).choice == "auto"
    assert decided(posting).choice == "suggest"


# --- No number at all ---


@pytest.mark.feature("K43")
@pytest.mark.parametrize("text", [None, "", "Rechnung", "vom 3.11.", "Kd.Nr. 99"])
def test_without_a_number_a_rare_name_and_the_amount_decide(text):
    decision = decided(make_posting(text))
    assert booked(decision) == {"ANNA-20017": "49.90"}
    assert decided(make_posting(text), policy=Policy(level="careful")).choice == "suggest"
    assert decided(make_posting(text, "49.91")).choice == "none"
    family = decided(make_posting(text, counterparty_name="Mustermann"))
    assert (family.choice, family.vetoes) == ("suggest", ("no_reference",))
    other = decided(make_posting("Rechnung 88771234"))
    assert other.choice == "suggest"
    stranger = decided(make_posting(text, counterparty_name="Bob Fremd"))
    assert stranger.choice == "none" or stranger.vetoes == ("no_reference",)


# --- Several orders ---


@pytest.mark.feature("C11")
@pytest.mark.parametrize(
    "text",
    [
        "ANNA-20017 ANNA-20018",
        "Bestellungen 20017, 20018",
        "ANNA-20017/ANNA-20018",
        "20017+20018",
        "Rechnungen RE-30017 und RE-30018",
    ],
)
def test_several_orders_are_booked_where_the_sum_is_right(text):
    decision = decided(make_posting(text, "88.25"))
    assert decision.choice == "auto"
    assert booked(decision) == {"ANNA-20017": "49.90", "ANNA-20018": "38.35"}


@pytest.mark.feature("C11")
@pytest.mark.parametrize("amount", ["88.24", "49.90", "200.00"])
def test_several_orders_are_suggested_where_the_sum_is_not(amount):
    decision = decided(make_posting("ANNA-20017 ANNA-20018", amount))
    assert decision.choice == "suggest"
    assert "several_orders_named" in decision.vetoes


def test_an_order_that_is_paid_already_is_no_part_of_the_sum():
    paid = make_order("ANNA-20018", "12.00", payment_status="paid", outstanding=Decimal(0))
    decision = decided(make_posting("ANNA-20017 ANNA-20018"), [make_order(), paid])
    assert booked(decision) == {"ANNA-20017": "49.90"}


def test_one_number_for_two_orders_is_a_question():
    twin = make_order(id=99, payers=(ERIKA,))
    decision = decided(make_posting(), [make_order(), twin])
    assert decision.choice == "suggest"
    assert len(decision.proposals) == 2


# --- Several postings ---


def choices(*postings, orders=SHOP):
    return [decision.choice for decision in decide(postings, MemoryStore(orders))]


@pytest.mark.feature("K46")
def test_a_second_payment_is_suggested_not_booked():
    first, second = make_posting(id=1), make_posting(id=2)
    assert choices(first, second) == ["auto", "suggest"]
    late = replace(first, booking_date=date(2026, 11, 6))
    assert choices(late, second) == ["suggest", "auto"]


def test_two_payers_of_one_order_are_both_a_question():
    one = make_posting(counterparty_name="Bob Fremd", id=1)
    other = make_posting(counterparty_name="Eva Anders", id=2)
    assert choices(one, other) == ["suggest", "suggest"]


def test_the_customer_is_preferred_to_a_stranger():
    stranger = make_posting(counterparty_name="Bob Fremd", booking_date=date(2026, 11, 4))
    assert choices(stranger, make_posting()) == ["suggest", "auto"]


@pytest.mark.feature("K3")
def test_instalments_of_one_batch_add_up():
    half = make_posting(amount="24.95")
    decisions = decide([half, half, half], MemoryStore(SHOP))
    assert [booked(each) for each in decisions] == [{"ANNA-20017": "24.95"}] * 2 + [{}]


def test_an_exact_payment_goes_before_a_part():
    part, whole = make_posting(amount="30.00"), make_posting()
    assert choices(part, whole) == ["suggest", "auto"]


# --- What always holds ---

TEXTS = st.one_of(
    st.sampled_from(
        ["ANNA-20017", "20018", "ANNA-20017 ANNA-20018", "RE-30017", OWN, "ANNA-20019"]
    ),
    st.text(max_size=80),
)
POSTINGS = st.builds(
    make_posting,
    text=TEXTS,
    amount=st.sampled_from(["49.90", "24.95", "38.35", "88.25", "100.00", "-1.00", "0.01"]),
    counterparty_name=st.sampled_from(["Erika Mustermann", "Bob Fremd", "Max NachbarAS", None, ""]),
    booking_date=st.sampled_from([date(2026, 11, 5), date(2026, 11, 6), None]),
    is_return=st.booleans(),
)


@given(st.lists(POSTINGS, max_size=6))
@settings(max_examples=100, deadline=None)
def test_money_is_never_made(postings):
    decisions = decide(postings, MemoryStore(SHOP))
    assert [decision.posting for decision in decisions] == postings
    paid = {}
    for decision in decisions:
        assert (decision.choice == "auto") == bool(decision.shares)
        assert all(share.amount > 0 for share in decision.shares)
        total = sum((share.amount for share in decision.shares), Decimal(0))
        assert total + decision.remainder == max(decision.posting.available, Decimal(0))
        for share in decision.shares:
            paid[share.order.id] = paid.get(share.order.id, Decimal(0)) + share.amount
            assert paid[share.order.id] <= share.order.outstanding
        assert set(decision.vetoes) <= set(VETOES)
        if decision.choice == "none":
            assert not (decision.evidence or decision.vetoes or decision.proposals)
        for proposal in decision.proposals:  # what a person can confirm as it stands
            assert all(share.amount > 0 for share in proposal.shares)
            assert sum(share.amount for share in proposal.shares) <= decision.posting.available
        probabilities = [proposal.probability for proposal in decision.proposals]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) <= 1.0 + 1e-9


@given(st.lists(POSTINGS, max_size=5, unique_by=lambda p: p.remittance_information), st.randoms())
@settings(max_examples=100, deadline=None)
def test_the_place_in_the_batch_does_not_matter(postings, random):
    """Days differ, so that no two claims are equal; then any order of the batch decides alike."""
    days = [
        replace(posting, id=n, booking_date=date(2026, 11, 5 + n))
        for n, posting in enumerate(postings)
    ]
    shuffled = list(days)
    random.shuffle(shuffled)
    straight = {d.posting.id: d for d in decide(days, MemoryStore(SHOP))}
    assert {d.posting.id: d for d in decide(shuffled, MemoryStore(SHOP))} == straight


@given(st.text(max_size=2_000))
@settings(max_examples=100, deadline=None)
def test_no_text_is_too_strange(text):
    assert decided(make_posting(text)).choice in ("auto", "suggest", "none")


ASKED = {"find", "lengths", "named", "owing", "of_customers", "payers", "crowd", "load"}


def test_the_store_is_asked_a_fixed_number_of_times():
    class CountingStore(MemoryStore):
        def __init__(self, orders):
            super().__init__(orders)
            self.asked = Counter()

        def __getattribute__(self, name):
            if name in ASKED:
                self.asked[name] += 1
            return super().__getattribute__(name)

    few, many = CountingStore(SHOP), CountingStore(SHOP)
    decide([make_posting("ANNA-20071")], few)
    decide([make_posting(f"ANNA-200{n:02}", id=n) for n in range(50)], many)
    assert few.asked == many.asked
    assert set(few.asked) == ASKED
    assert max(few.asked.values()) <= 3


@pytest.mark.feature("N2")
def test_the_same_input_gives_the_same_explained_answer():
    one, other = decided(make_posting()), decided(make_posting())
    assert one == other
    assert sentences(one) == [
        "ANNA20017 is its order number",
        "49.90 is what the order owes",
        "Erika Mustermann is the customer's name",
    ]
    assert one.evidence[0].span == ("remittance_information", 0, 10)


# --- Tolerance, once and together ---


def test_a_sum_within_the_tolerance_is_never_more_than_the_posting_has():
    posting = make_posting("ANNA-20017 ANNA-20018", "88.24")  # 49.90 + 38.35 = 88.25
    (decision,) = decide([posting], MemoryStore(SHOP), policy=Policy(tolerance=Decimal("0.01")))
    for shares in (decision.shares, *(each.shares for each in decision.proposals)):
        assert sum(share.amount for share in shares) <= Decimal("88.24")


def test_a_sum_a_cent_above_leaves_nothing_where_a_cent_is_tolerated():
    posting = make_posting("ANNA-20017 ANNA-20018", "88.26")
    (decision,) = decide([posting], MemoryStore(SHOP), policy=Policy(tolerance=Decimal("0.01")))
    assert decision.remainder == 0


def test_a_cancelled_order_is_paid_once():
    order = make_order(payment_status="cancelled")
    policy = Policy(assigns_cancelled=True)
    postings = [make_posting(id=1), make_posting(id=2)]
    decisions = decide(postings, MemoryStore([order]), policy=policy)
    assert [decision.choice for decision in decisions] == ["auto", "suggest"]


def test_a_cent_off_a_common_price_is_not_rarer_than_the_price():
    """The store is asked for 49.91; how many owe 49.90 is what counts."""

    class Strict(MemoryStore):
        def crowd(self, totals, names):
            totals, names = set(totals), set(names)
            found = super().crowd(totals, names)
            owing = {total: found.owing.get(total, 0) for total in totals}
            return replace(found, owing=owing)

    others = [
        make_order(f"B-{30000 + n}", payers=(Payer("Max", f"N{n}"),), id=n + 1) for n in range(60)
    ]
    orders = [make_order(id=999), *others]
    policy = Policy(tolerance=Decimal("0.01"))

    def weight(amount):
        (decision,) = decide([make_posting(amount=amount)], Strict(orders), policy=policy)
        return next(e.weight for e in decision.evidence if e.kind.startswith("amount"))

    assert weight("49.91") <= weight("49.90")
