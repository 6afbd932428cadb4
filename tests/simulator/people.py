"""Customers with their habits, and what merchants do by hand, wisely or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from plugin_sdk import types as wire
from server.banking.models import Posting
from server.db import db
from server.dunning import runs
from server.dunning import service as dunning
from server.dunning.models import DunningRun
from server.forgetting.service import erase_personal_data
from server.matching.service import look_again
from server.merchants.service import change_setting
from server.orders import lifecycle
from server.orders import service as orders
from server.orders.claims import claim_paid
from server.orders.credit import keep_as_credit
from server.orders.effects import settings_changed
from server.orders.ledger import NotPossible, is_standing, taken_totals
from server.orders.manual import ManualOrder, create_manual_order
from server.orders.models import OWING_STATUSES, Assignment, Order, Suggestion
from server.orders.removal import decide_removals
from server.orders.returns import book_return
from tests.simulator.bank import Transfer, german_iban
from tests.simulator.shop import ShopModel

if TYPE_CHECKING:
    from tests.simulator.world import World

RUNNER = "run by hand"
"""The actor of runs that a person asks for: they do what the daily run would do."""
HABITS = (
    ["exact"] * 9
    + ["late"] * 6
    + ["never"] * 5
    + ["parts", "much", "twice", "together", "nameless", "nameless", "after_end", "returned"]
    + ["says_paid", "cent"]
)
SYLLABLES = (
    "ba be bo da do fa fe ga go ka ke ko la le lo ma me mo na no ra re ro sa so ta to".split()
)
COUNTRIES = ["DE"] * 6 + ["AT", "AT", "CH", "FR", None]
METHODS = ["bacs"] * 5 + ["invoice"] * 5 + ["cod"]
OPEN_AT_FIRST = {"bacs": "on-hold", "invoice": "processing", "cod": "processing"}


@dataclass(frozen=True, slots=True)
class Customer:
    """``name`` is a family name that nobody else has."""

    name: str
    email: str
    iban: str
    country: str | None
    is_business: bool


def somebody(world: World, merchant_id: int) -> Customer:
    chance = world.chance
    while True:
        name = "".join(chance.choices(SYLLABLES, k=5)).title()
        if name not in world.names:
            break
    world.names.add(name)
    email = f"{name.lower()}@kunden{world.number_of(merchant_id)}.example.org"
    iban = german_iban(5_000_000 + len(world.names) * 7919)
    return Customer(name, email, iban, chance.choice(COUNTRIES), chance.random() < 0.3)


def order_of(world: World, shop: ShopModel, buyer: Customer) -> dict[str, Any]:
    """As the shop tells it."""
    chance, at = world.chance, world.now
    world.order_count += 1
    key = str(world.order_count)
    method = chance.choice(METHODS)
    if chance.random() < 0.08:
        at -= timedelta(days=chance.randrange(1, 40))
    raw: dict[str, Any] = {
        "external_id": key,
        "number": f"W{world.number_of(shop.merchant_id)}-{20_000 + world.order_count * 37}",
        "ordered_at": at.isoformat(),
        "currency": "EUR",
        "total": f"{chance.randrange(500, 90_000) / 100:.2f}",
        "payment_method": method,
        "shop_status": OPEN_AT_FIRST[method],
        "customer": {"email": buyer.email, "language": chance.choice(["de", "en"])},
        "billing_address": {
            "first_name": "Erika",
            "last_name": buyer.name,
            "street": "Heidestraße 17",
            "city": "Köln",
            "country": buyer.country,
        },
    }
    if buyer.is_business:
        raw["customer"]["vat_id"] = "DE123456789"
    if chance.random() < 0.05:
        raw["customer"]["email"] = None
    if chance.random() < 0.1:
        raw["reminder_base_date"] = (at.date() + timedelta(days=chance.randrange(20))).isoformat()
    if chance.random() < 0.15:
        raw["due_date"] = (at.date() + timedelta(days=chance.randrange(5, 40))).isoformat()
    if method == "invoice" and chance.random() < 0.5:
        raw["invoices"] = [{"number": f"R{raw['number']}", "date": at.date().isoformat()}]
    return raw


# --- customers ---------------------------------------------------------------------------------


def plan_payment(world: World, shop: ShopModel, key: str, buyer: Customer) -> None:
    """What this customer will do about his order, and when."""
    habit = world.chance.choice(HABITS)
    days = {"late": (12, 50), "after_end": (35, 70), "says_paid": (8, 30)}.get(habit, (0, 9))
    wait = timedelta(days=world.chance.uniform(*days))
    if habit == "never":
        return
    if habit == "says_paid":
        world.later(wait, "claim", lambda: say_paid(world, shop, key))
        wait += timedelta(days=world.chance.randrange(1, 20))
    if habit == "parts":
        world.later(wait / 2, "part", lambda: pay(world, shop, key, buyer, "part"))
    if habit == "twice":
        again = wait + timedelta(days=3)
        world.later(again, "twice", lambda: pay(world, shop, key, buyer, "exact"))
    if habit == "returned":
        back = wait + timedelta(days=6)
        world.later(back, "return", lambda: take_back(world, shop, key))
    world.later(wait, habit, lambda: pay(world, shop, key, buyer, habit))


def say_paid(world: World, shop: ShopModel, key: str) -> None:
    order = world.order(shop, key)
    if order is not None and world.is_house_up:
        world.attempt(
            lambda: claim_paid(order, paid_on=None, message="bezahlt", proof=None, at=world.now)
        )


def pay(world: World, shop: ShopModel, key: str, buyer: Customer, habit: str) -> None:
    """A transfer is ordered at the customer's bank."""
    bank, order = world.banks[shop.merchant_id], world.order(shop, key)
    total = Decimal(shop.orders[key]["total"]) if key in shop.orders else Decimal(10)
    amount = {
        "part": (total / 3).quantize(Decimal("0.01")),
        "parts": total - (total / 3).quantize(Decimal("0.01")),
        "much": total + Decimal("5.00"),
        "cent": total - Decimal("0.01"),
    }.get(habit, total)
    pays = {(shop.id, key): amount}
    text, says = _purpose(world, shop, key, order, habit)
    other = _other_of(world, shop, key, buyer) if habit == "together" else None
    if other is not None:
        more = Decimal(shop.orders[other]["total"])
        pays[shop.id, other] = more
        amount, says = amount + more, False
        text = f"{text} {shop.orders[other]['number']}"
    bank.send(
        Transfer(
            bank.reference(),
            world.today(shop.merchant_id),
            max(amount, Decimal("0.01")),
            text,
            f"Erika {buyer.name}",
            buyer.iban,
            pays,
            says,
        )
    )


def _purpose(
    world: World, shop: ShopModel, key: str, order: Order | None, habit: str
) -> tuple[str, bool]:
    """The text, and whether it names the order rightly."""
    if habit == "nameless":
        return world.chance.choice(["danke", "Bestellung", "Rechnung vom letzten Monat"]), False
    number = shop.orders[key]["number"]
    was_asked = order is not None and order.id in world.sink.asked
    if order is not None and was_asked and world.chance.random() < 0.7:
        return order.payment_reference, True
    return f"Bestellung {number}", True


def _other_of(world: World, shop: ShopModel, key: str, buyer: Customer) -> str | None:
    for other in shop.living():
        email = shop.orders[other]["customer"]["email"]
        if other != key and email == buyer.email:
            return other
    return None


def take_back(world: World, shop: ShopModel, key: str) -> None:
    """The customer's bank takes his payment back."""
    bank = world.banks[shop.merchant_id]
    for sent in list(bank.known.values()):
        if (shop.id, key) in sent.pays and not sent.is_return and sent not in bank.waiting:
            back = Transfer(
                bank.reference(),
                world.today(shop.merchant_id),
                -sent.amount,
                f"Rücküberweisung {sent.text} Konto aufgelöst",
                sent.name,
                sent.iban,
                is_return=True,
            )
            bank.send(back)
            return


# --- what the merchant does --------------------------------------------------------------------

Act = Callable[["Hand"], Any]


class Hand:
    """A person of one merchant does one thing by chance. What does not fit changes nothing."""

    def __init__(self, world: World, merchant_id: int) -> None:
        self.world, self.chance = world, world.chance
        self.merchant_id = merchant_id
        self.who: dict[str, Any] = {"actor": world.anna(merchant_id), "at": world.now}

    def run(self, name: str) -> None:
        self.world.attempt(lambda: ACTS[name](self))

    def order(self, *statuses: str) -> int:
        query = select(Order.id).where(Order.merchant_id == self.merchant_id)
        if statuses:
            query = query.where(Order.payment_status.in_(statuses))
        return self.one_of(query.order_by(Order.id))

    def posting(self) -> int:
        query = select(Posting.id).where(Posting.merchant_id == self.merchant_id, Posting.is_open)
        return self.one_of(query.order_by(Posting.id))

    def one_of(self, query: Any) -> int:
        found = list(db.session.scalars(query))
        if not found:
            raise NotPossible("nothing_there")
        return int(self.chance.choice(found))

    def shop(self) -> ShopModel:
        mine = [one for one in self.world.shops if one.merchant_id == self.merchant_id]
        return self.chance.choice(mine)

    # --- money

    def undo(self) -> None:
        standing = select(Assignment.id).where(
            Assignment.merchant_id == self.merchant_id,
            is_standing(),
            Assignment.completes_id.is_(None),
        )
        orders.undo(self.merchant_id, self.one_of(standing.order_by(Assignment.id)), **self.who)

    def assign(self) -> None:
        """Whatever money to whatever order: people err."""
        posting_id = self.posting()
        posting = db.session.get_one(Posting, posting_id)
        left = posting.amount - taken_totals([posting_id])[posting_id]
        part = (left, min(left, Decimal(5)))[self.chance.random() < 0.2]
        order_id = self.order(*OWING_STATUSES, "cancelled", "removed")
        orders.assign(self.merchant_id, posting_id, [(order_id, part)], **self.who)

    def confirm(self) -> None:
        waiting = select(Suggestion.id).where(
            Suggestion.merchant_id == self.merchant_id, Suggestion.returns_id.is_(None)
        )
        orders.confirm_suggestion(
            self.merchant_id, self.one_of(waiting.order_by(Suggestion.id)), **self.who
        )

    def book_return(self) -> None:
        waiting = select(Suggestion.id).where(
            Suggestion.merchant_id == self.merchant_id, Suggestion.returns_id.is_not(None)
        )
        one = db.session.get_one(Suggestion, self.one_of(waiting.order_by(Suggestion.id)))
        assert one.returns_id is not None
        book_return(self.merchant_id, one.posting_id, one.returns_id, **self.who)

    def credit(self) -> None:
        paid = self.order("paid")
        keep_as_credit(self.merchant_id, self.posting(), paid, **self.who)

    # --- orders

    def edit(self) -> None:
        order_id = self.order(*OWING_STATUSES)
        order = db.session.get_one(Order, order_id)
        email = self.chance.choice([order.customer_email or "", f"neu{order.customer_email}"])
        total = order.total + self.chance.choice([-1, 0, 2])
        lifecycle.edit_order(
            self.merchant_id,
            order_id,
            email=email if order.customer_email else "",
            total=max(total, Decimal(1)),
            **self.who,
        )

    def base_date(self) -> None:
        day = self.world.today(self.merchant_id) + timedelta(days=self.chance.randrange(-10, 20))
        chosen = self.chance.choice([day, day, None])
        lifecycle.set_base_date(self.merchant_id, self.order(*OWING_STATUSES), chosen, **self.who)

    def erase(self) -> None:
        order_id = self.order()
        self.world.checker.will_erase(order_id)
        erase_personal_data(self.merchant_id, order_id, **self.who)
        self.world.checker.was_erased(order_id)

    def manual(self) -> None:
        buyer = somebody(self.world, self.merchant_id)
        self.world.order_count += 1
        typed = ManualOrder(
            number=f"H{self.world.order_count}",
            ordered_on=self.world.today(self.merchant_id),
            code=self.chance.choice([wire.PaymentCode.PREPAYMENT, wire.PaymentCode.INVOICE]),
            total=Decimal("25.00"),
            currency="EUR",
            email=buyer.email,
            address={"last_name": buyer.name, "country": "DE"},
        )
        create_manual_order(self.merchant_id, self.shop().id, typed, **self.who)

    def reminder(self) -> None:
        anyway = self.chance.random() < 0.5
        dunning.send_reminder(
            self.merchant_id, self.order(*OWING_STATUSES), anyway=anyway, **self.who
        )

    def run_order(self) -> None:
        order_id = self.order(*OWING_STATUSES)
        dunning.run_order(self.merchant_id, order_id, actor=RUNNER, at=self.who["at"])

    # --- the house

    def ask_run(self) -> None:
        runs.ask_run(self.merchant_id, actor=RUNNER, at=self.who["at"])

    def decide_run(self) -> None:
        waiting = select(DunningRun.id).where(
            DunningRun.merchant_id == self.merchant_id, DunningRun.status == "withheld"
        )
        runs.release_run(self.merchant_id, self.one_of(waiting.order_by(DunningRun.id)), **self.who)

    def decide_removals(self) -> None:
        removes = self.chance.random() < 0.5
        decide_removals(self.merchant_id, self.shop().id, removes=removes, **self.who)

    def setting(self) -> None:
        name, values = self.chance.choice(WISHES)
        self.wish(name, self.chance.choice(values))

    def wish(self, name: str, typed: str, shop_id: int | None = None) -> None:
        change_setting(self.merchant_id, name, typed, shop_id=shop_id, **self.who)
        settings_changed(self.merchant_id, shop_id, [name], **self.who)
        self.world.wishes[self.merchant_id, shop_id, name] = typed

    def stop_mails(self) -> None:
        self.wish("stop_mails", "on")
        wait = timedelta(days=self.chance.uniform(0.5, 5))
        self.world.later(wait, "go on", lambda: Hand(self.world, self.merchant_id).run("go_on"))

    def test_mode(self) -> None:
        shop = self.shop()
        self.wish("mode", "test", shop.id)

        def live() -> None:
            hand = Hand(self.world, self.merchant_id)
            self.world.attempt(lambda: hand.wish("mode", "live", shop.id))

        self.world.later(timedelta(days=self.chance.uniform(1, 8)), "live", live)


WISHES: list[tuple[str, list[str]]] = [
    ("prepayment.reminders", ["0", "1", "2", "3"]),
    ("prepayment.first_reminder_days", ["3", "7", "10"]),
    ("prepayment.reminder_2_days", ["2", "7"]),
    ("prepayment.resend_after_days", ["0", "3"]),
    ("prepayment.cancel_after_days", ["0", "14", "30"]),
    ("prepayment.revive_cancelled", ["on", "off"]),
    ("prepayment.ask_when", ["at_once", "at_once", "by_shop"]),
    ("invoice.reminders", ["1", "2", "4"]),
    ("invoice.first_reminder_days", ["5", "14"]),
    ("invoice.reminder_2_days", ["4", "10"]),
    ("invoice.reminder_base", ["invoice_date", "order_date"]),
    ("invoice.ask_when", ["at_once", "with_invoice"]),
    ("invoice.cancel_after_days", ["0", "40"]),
    ("invoice.collect_after_days", ["0", "30", "50"]),
    ("invoice.charge_fees", ["on", "off"]),
    ("invoice.claim_fees", ["on", "off"]),
    ("invoice.resend_before_due_days", ["0", "3"]),
    ("cash_on_delivery.ask_unpaid_after_days", ["0", "10"]),
    ("cash_on_delivery.cancel_after_days", ["0", "20"]),
    ("saturday_reminders", ["on", "off"]),
    ("bank_data_hours", ["24", "72", "120"]),
    ("run_hour", ["6", "9", "17"]),
    ("claim_pause_days", ["0", "5"]),
    ("assign_cancelled", ["on", "off"]),
    ("zero_is_paid", ["on", "off"]),
    ("tolerance_cents", ["0", "1", "50"]),
]


def _on_order(act: Callable[..., Any], *statuses: str) -> Act:
    return lambda hand: act(hand.merchant_id, hand.order(*statuses), **hand.who)


ACTS: dict[str, Act] = {
    "mark_as_paid": _on_order(orders.mark_as_paid, *OWING_STATUSES, "cancelled"),
    "mark_as_unpaid": _on_order(lifecycle.mark_as_unpaid, "paid"),
    "undo": Hand.undo,
    "assign": Hand.assign,
    "confirm": Hand.confirm,
    "book_return": Hand.book_return,
    "credit": Hand.credit,
    "cancel": _on_order(lifecycle.cancel_order, *OWING_STATUSES),
    "reopen": _on_order(lifecycle.reopen_order, "cancelled"),
    "block": _on_order(lifecycle.block_reminders, *OWING_STATUSES),
    "allow": _on_order(lifecycle.allow_reminders),
    "edit": Hand.edit,
    "base_date": Hand.base_date,
    "collect": _on_order(lifecycle.hand_to_collection, *OWING_STATUSES, "cancelled"),
    "take_from_collection": _on_order(lifecycle.take_from_collection, "collection"),
    "take_over": _on_order(lifecycle.take_over, "not_managed"),
    "stop_managing": _on_order(lifecycle.stop_managing, *OWING_STATUSES),
    "erase": Hand.erase,
    "manual": Hand.manual,
    "send_again": _on_order(lifecycle.send_payment_information, *OWING_STATUSES),
    "read_again": _on_order(lifecycle.read_again),
    "reminder": Hand.reminder,
    "run_order": Hand.run_order,
    "ask_run": Hand.ask_run,
    "decide_run": Hand.decide_run,
    "decide_removals": Hand.decide_removals,
    "setting": Hand.setting,
    "stop_mails": Hand.stop_mails,
    "go_on": lambda hand: hand.wish("stop_mails", "off"),
    "test_mode": Hand.test_mode,
    "ignore": lambda hand: orders.ignore_posting(hand.merchant_id, hand.posting(), **hand.who),
    "look_again": lambda hand: look_again(hand.merchant_id, hand.who["at"]),
}
"""By name; the state machine and the seeded runner draw from the same."""
OFTEN = (
    ["setting"] * 4
    + ["undo", "mark_as_paid", "confirm", "book_return", "edit", "base_date", "ask_run"] * 2
    + [name for name in ACTS if name not in ("go_on", "stop_mails", "test_mode", "erase")]
    + ["reminder", "run_order", "block", "cancel", "reopen"]
)
SELDOM = ("stop_mails", "test_mode", "erase")


def act_by_chance(world: World, merchant_id: int) -> str:
    chance: Random = world.chance
    name = chance.choice(SELDOM) if chance.random() < 0.07 else chance.choice(OFTEN)
    Hand(world, merchant_id).run(name)
    return name
