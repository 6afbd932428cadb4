"""What must hold in every world, whatever happens in it.

``after_step`` is cheap and looks at what is new; ``daily`` looks at everything; ``at_end`` also
asks that no work is left. What is broken raises ``Broken`` with the history of its order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sqlalchemy import text

from server.db import db
from server.mail.models import Mail
from server.shops.models import PaymentUpdate
from tests.simulator import oracle
from tests.simulator.people import RUNNER

if TYPE_CHECKING:
    from tests.simulator.world import World

ZERO: Final = Decimal(0)
AUTOMATIC: Final = ("", RUNNER)
"""Who acts where nobody looks at the single order."""
REMINDING: Final = ("reminder", "dunning_notice")
OWING: Final = ("unpaid", "partially_paid")
STATUS_OF_MAIL: Final = {
    **dict.fromkeys(("payment_information", *REMINDING, "cod_enquiry"), OWING),
    "partially_paid": ("partially_paid",),
    "payment_received": ("paid",),
    "overpaid": ("paid",),
    "order_cancelled": ("cancelled",),
}
"""What must be true of an order in the moment in which its customer reads of it."""
MAIL_EVENTS: Final = {"reminder_sent", "enquired", "payment_information_sent"}
END_EVENTS: Final = {"cancelled": "cancelled", "overdue": "cancelled", "collection": "collection"}
NEWEST: Final = """
SELECT (SELECT max(id) FROM order_event), (SELECT max(id) FROM payment_update),
    (SELECT max(id) FROM assignment)
"""
EVENTS: Final = """
SELECT e.kind, e.actor, e.facts, e.order_id, o.merchant_id, o.shop_id, o.payment_status, o.wire,
    o.sync, o.reminders_blocked_at, o.paused_until, o.held_removal, o.payment_code
FROM order_event e JOIN "order" o ON o.id = e.order_id WHERE e.id > :after ORDER BY e.id
"""
UPDATES: Final = """
SELECT u.order_id, u.intent, u.merchant_id, u.shop_id, o.sync,
    least(o.removed_at, o.cancelled_at) < u.created_at AS had_ended
FROM payment_update u JOIN "order" o ON o.id = u.order_id WHERE u.id > :after
"""
MONEY: Final = {
    "a posting is assigned more than it is": """
        SELECT p.id, max(a.order_id) AS order_id FROM posting p JOIN assignment a
        ON a.posting_id = p.id GROUP BY p.id HAVING sum(a.amount) > p.amount OR sum(a.amount) < 0
    """,
    "a posting is open and has nothing left, or the other way round": """
        SELECT p.id, NULL::bigint AS order_id FROM posting p WHERE p.amount > 0 AND p.is_open <> (
            p.amount > coalesce((SELECT sum(amount) FROM assignment WHERE posting_id = p.id), 0)
            AND p.ignored_at IS NULL AND NOT p.is_pending AND NOT p.no_assignment
            AND NOT p.is_replaced AND NOT p.is_passed_on AND NOT p.is_kept AND NOT p.is_returned)
    """,
    "a row is reversed twice or by another sum": """
        SELECT b.id, b.order_id FROM assignment b JOIN assignment a ON a.id = b.reverses_id
        WHERE b.amount <> -a.amount OR b.order_id <> a.order_id
            OR b.posting_id IS DISTINCT FROM a.posting_id OR a.reverses_id IS NOT NULL
    """,
    "the sum over orders is not the sum over postings": """
        SELECT 0 AS id, NULL::bigint AS order_id FROM (
            SELECT (SELECT coalesce(sum(s), 0) FROM (SELECT sum(amount) AS s FROM assignment
                    WHERE posting_id IS NOT NULL GROUP BY order_id) x)
                - (SELECT coalesce(sum(s), 0) FROM (SELECT sum(amount) AS s FROM assignment
                    WHERE posting_id IS NOT NULL GROUP BY posting_id) y) AS gap) z WHERE gap <> 0
    """,
}
TENANTS: Final = {
    "a mail and its order": """
        SELECT o.id FROM mail m JOIN "order" o ON o.id = m.order_id
        WHERE m.merchant_id <> o.merchant_id OR m.shop_id <> o.shop_id
    """,
    "a payment update and its order": """
        SELECT o.id FROM payment_update u JOIN "order" o ON o.id = u.order_id
        WHERE u.merchant_id <> o.merchant_id OR u.shop_id <> o.shop_id
    """,
    "an assignment, its order and its posting": """
        SELECT o.id FROM assignment a JOIN "order" o ON o.id = a.order_id
        LEFT JOIN posting p ON p.id = a.posting_id
        WHERE a.merchant_id <> o.merchant_id OR p.merchant_id <> o.merchant_id
    """,
    "a suggestion and its orders": """
        SELECT o.id FROM suggestion s, json_array_elements(s.orders) part
        JOIN "order" o ON o.id = CAST(part ->> 'order_id' AS bigint)
        WHERE s.merchant_id <> o.merchant_id
    """,
    "a decision and its orders": """
        SELECT o.id FROM match_decision d, json_array_elements(d.shares) part
        JOIN "order" o ON o.id = CAST(part ->> 'order_id' AS bigint)
        WHERE d.merchant_id <> o.merchant_id
    """,
    "a reminder, its order and its mail": """
        SELECT o.id FROM reminder r JOIN "order" o ON o.id = r.order_id
        LEFT JOIN mail m ON m.id = r.mail_id
        WHERE r.merchant_id <> o.merchant_id OR m.order_id <> r.order_id
    """,
}
STATUSES: Final = """
SELECT o.id, o.merchant_id, o.shop_id, o.payment_code, o.payment_status, o.total, o.fee_total,
    o.is_managed, o.removed_at, o.collection_at, o.cancelled_at,
    coalesce((SELECT sum(amount) FROM assignment WHERE order_id = o.id), 0) AS paid
FROM "order" o ORDER BY o.id
"""
LEFT_OVER: Final = """
SELECT id, status, created_at, due_at, attempts, error FROM {table}
WHERE status = 'running' OR (status = 'queued' AND due_at <= :at)
"""
WORK: Final = "mail statement match_request dunning_run payment_update order_request".split()
TRACES: Final = """
SELECT 'the order' AS whose FROM "order" t WHERE id = :id AND t::text ILIKE :name
UNION ALL SELECT 'mail ' || t.id || ' ' || t.kind FROM mail t
    WHERE order_id = :id AND t::text ILIKE :name
    AND created_at <= (SELECT erased_at FROM "order" WHERE id = :id)
UNION ALL SELECT 'the history' FROM order_event t WHERE order_id = :id AND t::text ILIKE :name
UNION ALL SELECT 'the ledger' FROM assignment t WHERE order_id = :id AND t::text ILIKE :name
    AND created_at <= (SELECT erased_at FROM "order" WHERE id = :id)
UNION ALL SELECT 'an invoice' FROM invoice t WHERE order_id = :id AND t::text ILIKE :name
UNION ALL SELECT 'a claim' FROM payment_claim t WHERE order_id = :id AND t::text ILIKE :name
UNION ALL SELECT 'a key' FROM order_key t WHERE order_id = :id AND t::text ILIKE :name
UNION ALL SELECT 'posting ' || t.id FROM posting t
    WHERE id = ANY(:postings) AND t::text ILIKE :name
UNION ALL SELECT 'a decision' FROM match_decision t
    WHERE posting_id = ANY(:postings) AND t::text ILIKE :name
"""
"""Where the name may still be. Money that comes after the erasure tells its payer anew."""


class Broken(AssertionError):
    """Something that must hold does not."""


class Checker:
    """Of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reminders = 0
        self._newest: tuple[int, ...] = tuple(row or 0 for row in self._one(NEWEST))
        self._delivered: Counter[str] = Counter()
        self._erasing: dict[int, tuple[str, list[int]]] = {}
        self._erased: dict[int, tuple[str, list[int]]] = {}

    def fail(self, what: str, order_id: int | None = None) -> NoReturn:
        db.session.rollback()
        world = self.world
        lines = [f"seed {world.seed}, {world.now:%a %Y-%m-%d %H:%M:%S} UTC: {what}"]
        if order_id is not None:
            lines += [f"order {order_id}:", *world.history(order_id)]
        raise Broken("\n".join(lines))

    def _one(self, query: str, **values: Any) -> Any:
        return db.session.execute(text(query), values).one()

    def _rows(self, query: str, **values: Any) -> list[Any]:
        return list(db.session.execute(text(query), values))

    # --- what is new -------------------------------------------------------------------------

    def after_step(self) -> None:
        newest = tuple(row or 0 for row in self._one(NEWEST))
        if newest == self._newest:
            db.session.rollback()
            return
        (events, updates, _), self._newest = self._newest, newest
        for event in self._rows(EVENTS, after=events):
            self._check_event(event)
        for update in self._rows(UPDATES, after=updates):
            self._check_update(update)
        self._check_money()
        db.session.rollback()

    def _check_event(self, event: Any) -> None:
        if event.kind == "reminder_sent":
            self.reminders += 1
            self._check_level(event)
        if event.actor not in AUTOMATIC:
            return
        if event.kind in MAIL_EVENTS:
            self._check_mailed(event)
        elif event.kind in END_EVENTS:
            self._check_ended(event)

    def _check_level(self, event: Any) -> None:
        """Levels rise by one."""
        levels = {
            int(row.once.split(":")[3])
            for row in self._rows(
                "SELECT once FROM mail WHERE order_id = :id AND status <> 'withheld'"
                " AND kind IN ('reminder', 'dunning_notice')",
                id=event.order_id,
            )
        }
        level = event.facts["level"]
        if max(levels, default=level) == level and level - 1 not in levels | {0}:
            self.fail(f"level {level} without the one before", event.order_id)

    def _check_mailed(self, event: Any) -> None:
        if event.payment_status not in OWING:
            self.fail(f"{event.kind} while it is {event.payment_status}", event.order_id)
        self._check_guards(event)
        saturdays = self._wish(event, "saturday_reminders") == "on"
        today = self.world.today(event.merchant_id)
        if not oracle.is_mail_day(today, oracle.country_of(event.wire), saturdays):
            self.fail(f"{event.kind} on {today:%a %d %B}", event.order_id)

    def _check_ended(self, event: Any) -> None:
        if event.payment_status != END_EVENTS[event.kind]:
            self.fail(f"{event.kind}, and it is {event.payment_status}", event.order_id)
        self._check_guards(event)
        if not oracle.is_bank_day(self.world.today(event.merchant_id)):
            self.fail(f"{event.kind} on a day off", event.order_id)

    def _check_guards(self, event: Any) -> None:
        today = self.world.today(event.merchant_id)
        reasons = {
            "blocked": event.reminders_blocked_at,
            "paused": event.paused_until and event.paused_until >= today,
            "held": event.held_removal,
        }
        why = next((name for name, is_so in reasons.items() if is_so), None) or oracle.hindrance(
            self.world, event.merchant_id, event.shop_id, event.sync
        )
        if why is not None:
            self.fail(f"{event.kind} by itself although: {why}", event.order_id)

    def _wish(self, row: Any, name: str) -> str:
        return oracle.wish(self.world, row.merchant_id, row.shop_id, name)

    def _check_update(self, update: Any) -> None:
        if update.sync == "manual" or self._wish(update, "mode") == "test":
            self.fail(f"a shop is told {update.intent} that is told nothing", update.order_id)
        if update.intent in ("paid", "partially_paid") and update.had_ended:
            self.fail(f"a shop is told {update.intent} of an order that ended", update.order_id)

    def _check_money(self) -> None:
        for what, query in MONEY.items():
            for row in self._rows(query):
                self.fail(f"{what}: {row.id}", row.order_id)

    # --- mails -------------------------------------------------------------------------------

    def mail_delivered(self, mail: Mail, recipient: str) -> None:
        """In the moment in which the mail server takes it."""
        self._delivered[mail.once] += 1
        if self._delivered[mail.once] > 1:
            self.fail(f"{mail.once} was delivered twice", mail.order_id)
        number = self.world.number_of(mail.merchant_id)
        domain = recipient.rpartition("@")[2]
        if domain == f"laden{number}.example.org":
            if mail.kind in STATUS_OF_MAIL and mail.redirected_to is None:
                self.fail(f"{mail.kind} went to the merchant", mail.order_id)
            return
        if domain != f"kunden{number}.example.org":
            self.fail(f"{mail.kind} of merchant {number} went to {recipient}", mail.order_id)
        if mail.kind not in STATUS_OF_MAIL or mail.order_id is None:
            self.fail(f"{mail.kind} went to a customer", mail.order_id)
        self._check_told(mail)

    def _check_told(self, mail: Mail) -> None:
        if oracle.wish(self.world, mail.merchant_id, None, "stop_mails") == "on":
            self.fail(f"{mail.kind} although mails are stopped", mail.order_id)
        if oracle.wish(self.world, mail.merchant_id, mail.shop_id, "mode") == "test":
            self.fail(f"{mail.kind} to a customer of a shop in test mode", mail.order_id)
        order = self._one(
            'SELECT payment_status, erased_at FROM "order" WHERE id = :id', id=mail.order_id
        )
        if order.erased_at is not None or order.payment_status not in STATUS_OF_MAIL[mail.kind]:
            state = "erased" if order.erased_at else order.payment_status
            self.fail(f"{mail.kind} was delivered while the order is {state}", mail.order_id)

    def update_leased(self, row: PaymentUpdate) -> None:
        """In the moment in which the shop hears of it."""
        shop = next(one for one in self.world.shops if one.id == row.shop_id)
        if shop.merchant_id != row.merchant_id:
            self.fail("a shop fetched another merchant's update", row.order_id)

    # --- runs --------------------------------------------------------------------------------

    @contextmanager
    def watching_run(self) -> Iterator[None]:
        """What a run sends is what the oracle says."""
        waiting = self._rows(
            "SELECT id, merchant_id FROM dunning_run WHERE status = 'queued' AND due_at <= :at",
            at=self.world.now,
        )
        told = {
            row.merchant_id: oracle.reminders_now(self.world, row.merchant_id) for row in waiting
        }
        db.session.rollback()
        yield
        for merchant_id, expected in told.items():
            ids = [row.id for row in waiting if row.merchant_id == merchant_id]
            self._compare(ids, expected)
        db.session.rollback()

    def _compare(self, run_ids: list[int], expected: oracle.Told) -> None:
        runs = self._rows("SELECT status FROM dunning_run WHERE id = ANY(:ids)", ids=run_ids)
        sent = {
            (row.order_id, row.level)
            for row in self._rows(
                "SELECT order_id, level FROM reminder"
                " WHERE run_id = ANY(:ids) AND created_at = :at",
                ids=run_ids,
                at=self.world.now,
            )
        }
        for order_id, level in sorted(sent - expected.due):
            self.fail(f"reminder {level} was sent, and should not have been", order_id)
        if not any(row.status == "done" for row in runs):
            return
        for order_id, level in sorted(expected.due - sent):
            if order_id not in expected.unsure:
                self.fail(f"reminder {level} should have been sent in this run", order_id)

    # --- everything --------------------------------------------------------------------------

    def daily(self) -> None:
        self._check_money()
        for what, query in TENANTS.items():
            for row in self._rows(query):
                self.fail(f"tenants mix: {what}", row.id)
        self._check_statuses()
        self._check_truth()
        self._check_runs()
        for order_id in self._erased:
            self._check_erased(order_id)
        db.session.rollback()

    def _check_statuses(self) -> None:
        for row in self._rows(STATUSES):
            expected = self._status(row)
            if row.payment_status != expected:
                what = f"it is {row.payment_status} and should be {expected}"
                self.fail(f"{what}: {row.paid} of {row.total} + {row.fee_total}", row.id)

    def _status(self, row: Any) -> str:
        claims = self._wish(row, "invoice.claim_fees") == "on" and row.payment_code == "invoice"
        owed = row.total + (row.fee_total if claims else ZERO)
        is_paid = row.paid > 0 and row.paid >= owed
        ended = (
            ("removed", row.removed_at),
            ("collection", row.collection_at),
            ("cancelled", row.cancelled_at),
            ("partially_paid", row.paid > 0),
        )
        if not row.is_managed or is_paid:
            return "paid" if row.is_managed else "not_managed"
        return next((name for name, is_so in ended if is_so), "unpaid")

    def _check_truth(self) -> None:
        """Money that names its order rightly never pays another one by itself."""
        booked = self._rows(
            "SELECT a.posting_id, a.order_id, o.shop_id, o.external_id FROM assignment a"
            " JOIN \"order\" o ON o.id = a.order_id WHERE a.origin = 'auto'"
        )
        whose = {(row.posting_id, row.order_id): (row.shop_id, row.external_id) for row in booked}
        for bank in self.world.banks.values():
            bank.learn_postings()
            meant = {
                id: bank.known[name] for name, id in bank.posting_of.items() if name in bank.known
            }
            for (posting_id, order_id), order in whose.items():
                sent = meant.get(posting_id)
                if sent is not None and sent.says and order not in sent.pays:
                    self.fail(f"{sent.text!r} paid another order than {sent.pays}", order_id)

    def _check_runs(self) -> None:
        twice = self._rows(
            "SELECT merchant_id, run_date FROM dunning_run WHERE origin = 'daily'"
            " GROUP BY 1, 2 HAVING count(*) > 1"
        )
        for row in twice:
            self.fail(f"two daily runs of merchant {row.merchant_id} on {row.run_date}")

    def at_end(self) -> None:
        """Every row ended."""
        self.daily()
        for table in WORK:
            query = LEFT_OVER.format(table=table)
            for row in self._rows(query, at=self.world.now):
                so_far = f"due {row.due_at}, {row.attempts} attempts, {row.error}"
                self.fail(f"{table} {row.id} of {row.created_at} is {row.status}: {so_far}")

    # --- forgetting --------------------------------------------------------------------------

    def will_erase(self, order_id: int) -> None:
        row = self._one('SELECT customer_name FROM "order" WHERE id = :id', id=order_id)
        postings = self._rows(
            "SELECT DISTINCT posting_id FROM assignment WHERE order_id = :id"
            " AND posting_id IS NOT NULL",
            id=order_id,
        )
        name = row.customer_name.rpartition(" ")[2]
        self._erasing[order_id] = name, [one.posting_id for one in postings]

    def was_erased(self, order_id: int) -> None:
        found = self._erasing.pop(order_id)
        if found[0] and order_id not in self._erased:
            self._erased[order_id] = found
        db.session.flush()
        if order_id in self._erased:
            self._check_erased(order_id)

    def _check_erased(self, order_id: int) -> None:
        name, postings = self._erased[order_id]
        left = self._rows(TRACES, id=order_id, name=f"%{name}%", postings=postings)
        if left:
            self.fail(f"{name} was erased and stands in {left[0].whose}", order_id)
