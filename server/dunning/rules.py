"""What comes next for an order that is not paid, and when (S45 to S50, S57, S58, S63, K23 to K29).

Pure: the order's facts, the settings, a calendar and the day come in as arguments. Days are the
merchant's local dates. Nothing is counted or remembered here: what was sent comes in as facts, so
a run that did not take place is caught up by the next one, one level at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from server.dunning.calendar import Calendar
from server.merchants.settings import MOST_REMINDERS, CodeSettings
from server.orders.rules import LATE_CODES, OWING_STATUSES

StepKind = Literal["resend", "before_due", "reminder", "enquiry", "cancel", "collection"]
Base = Literal["by_hand", "shop", "invoice", "order"]

ASKED_CODES: Final = frozenset({"prepayment", "invoice"})
"""Who is asked for a transfer, so who may be reminded of it."""
MAILS: Final = frozenset({"resend", "before_due", "reminder", "enquiry"})
"""Steps that are a mail and nothing else."""
REQUEST: Final = "payment_information"
ONE_DAY: Final = timedelta(days=1)
LEAST_TIME_TO_PAY: Final = timedelta(days=3)
"""An old order that was taken over yesterday is not reminded today: so long after the payment
information, or since it was brought back, or the setting's days if they are fewer, nobody is
reminded or cancelled."""


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What the plan needs to know of one order; see ``dunning.reading`` for where it comes from.

    ``shop_base_date`` and ``base_date_by_hand``: S57, S58. ``due_date`` is the contractual one
    (S59). ``asked_on``: when the first payment information went out. ``reminders``: (level,
    day) of those that were sent. ``enquired_on``: when a customer was asked whether he paid at
    the door (K29). ``is_business``: has a VAT id. ``claims_paid``: he says that he has paid, or
    sent a proof of it, and nobody has looked at that yet; ``asks_for_time`` likewise.
    """

    payment_code: str
    payment_status: str
    order_date: date
    first_invoice_date: date | None = None
    shop_base_date: date | None = None
    base_date_by_hand: date | None = None
    due_date: date | None = None
    country: str | None = None
    is_business: bool = False
    has_email: bool = True
    letters: frozenset[str] = frozenset()
    has_invoice_number: bool = False
    asked_on: date | None = None
    was_resent: bool = False
    was_asked_before_due: bool = False
    reminders: tuple[tuple[int, date], ...] = ()
    enquired_on: date | None = None
    claims_paid: bool = False
    asks_for_time: bool = False
    is_blocked: bool = False
    paused_until: date | None = None
    removal_is_held: bool = False
    is_collected: bool = False
    is_cancelled: bool = False
    resumed_on: date | None = None
    left_collection_on: date | None = None

    def can_be_written_to(self, kind: str) -> bool:
        """By mail, or by letter alone."""
        return self.has_email or kind in self.letters

    @property
    def level(self) -> int:
        """The dunning level: the highest that was sent; 0 is none."""
        return max((level for level, _ in self.reminders), default=0)

    @property
    def last_reminder_on(self) -> date | None:
        return max((sent_on for _, sent_on in self.reminders), default=None)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is still to come. ``due_on`` is the earliest day on which it can happen.

    ``level`` is the dunning level of a reminder, else 0.
    """

    kind: StepKind
    level: int
    due_on: date


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is still to come, by day; each as if everything before it went on its day.

    ``hindered`` says why something does not come that otherwise would: ``blocked``, ``paused``,
    ``removal_held``, ``no_email``, ``no_invoice_number``, ``not_managed``, ``part_paid`` (a
    prepayment that is partly paid is not cancelled by itself); and why it is not handed over to
    collection: ``reminders_missing`` (not all could be sent), ``claims_paid``, ``asks_for_time``.
    """

    steps: tuple[Step, ...]
    base_date: date
    base: Base
    hindered: str | None = None

    @property
    def next(self) -> Step | None:
        return self.steps[0] if self.steps else None

    def due(self, today: date) -> Step | None:
        """What is to be done today: one step, the earliest."""
        step = self.next
        return step if step is not None and step.due_on <= today else None


def kind_of(level: int) -> str:
    """What a level is called as a mail and as a letter."""
    return "reminder" if level == 1 else "dunning_notice"


def base_of(order: OrderFacts, settings: CodeSettings) -> tuple[date, Base]:
    """The base of all reminder dates, and where it comes from: the first that exists of the date
    set by hand (S58), the shop's own (S57), the first invoice if the setting says so (S48), and
    the order."""
    if order.base_date_by_hand is not None:
        return order.base_date_by_hand, "by_hand"
    if order.shop_base_date is not None:
        return order.shop_base_date, "shop"
    if settings.reminder_base == "invoice_date" and order.first_invoice_date is not None:
        return order.first_invoice_date, "invoice"
    return order.order_date, "order"


def plan(order: OrderFacts, settings: CodeSettings, calendar: Calendar, today: date) -> Plan:
    """What comes next and when. ``settings`` are those of the order's payment code."""
    base_date, base = base_of(order, settings)
    if order.payment_status == "not_managed":
        return Plan((), base_date, base, "not_managed")
    if not _may_come(order):
        return Plan((), base_date, base)
    course = _Course(order, settings, calendar, today, base_date)
    steps = tuple(sorted(course.steps(), key=lambda step: (step.due_on, _TURN[step.kind])))
    hindered = course.hindered
    stopped = _stopped(order)
    if stopped is not None:
        return Plan((), base_date, base, stopped if steps else hindered)
    if order.paused_until is not None and order.paused_until >= today and steps:
        hindered = "paused"
    return Plan(steps, base_date, base, hindered)


_TURN: Final = {
    kind: turn
    for turn, kind in enumerate(
        ("before_due", "resend", "enquiry", "reminder", "cancel", "collection")
    )
}


def _may_come(order: OrderFacts) -> bool:
    """Is there anything to be done for an order in this status at all?"""
    if order.payment_status in OWING_STATUSES:
        return True
    return order.payment_status == "cancelled" and order.payment_code == "invoice"


def _stopped(order: OrderFacts) -> str | None:
    if order.is_blocked:
        return "blocked"
    return "removal_held" if order.removal_is_held else None


class _Course:
    """The course of one order. ``hindered`` is known when the steps were made."""

    def __init__(
        self,
        order: OrderFacts,
        settings: CodeSettings,
        calendar: Calendar,
        today: date,
        base_date: date,
    ) -> None:
        self.order, self.settings, self.calendar = order, settings, calendar
        self.base_date = base_date
        self.hindered: str | None = None
        resumes = order.paused_until + ONE_DAY if order.paused_until is not None else today
        self.not_before = max(today, resumes)
        self.owes = order.payment_status in OWING_STATUSES

    def steps(self) -> list[Step]:
        if self._waits_for_invoice():
            if self.settings.reminders or self.settings.collect_after_days:
                self.hindered = "no_invoice_number"
            return []
        cancel_after = self._cancel_after()
        reminders = self._reminders(cancel_after) if self.owes else []
        enquiry = self._enquiry() if self.owes else None
        requests = list(self._requests(reminders)) if self.owes else []
        cancel = self._cancel(cancel_after, reminders, enquiry)
        if enquiry is not None and cancel is not None and cancel.due_on < enquiry.due_on:
            enquiry = None  # nobody is asked about what is over
        collection = self._collection(reminders)
        if collection is not None and cancel is not None and collection.due_on <= cancel.due_on:
            cancel = None
        rest = [step for step in (enquiry, cancel, collection) if step is not None]
        return [*requests, *reminders, *rest]

    def _waits_for_invoice(self) -> bool:
        """Who is asked only with the invoice is neither reminded nor handed over before it (S44,
        K23); and nobody's order is cancelled who was never asked."""
        return self.settings.ask_when == "with_invoice" and not self.order.has_invoice_number

    # --- mails

    def _mail_day(self, nominal: date) -> date:
        return self.calendar.next_good_day(max(nominal, self.not_before))

    def _may_write(self, kind: str) -> bool:
        if not self.order.can_be_written_to(kind):
            self.hindered = "no_email"
        return self.order.can_be_written_to(kind)

    def _chain(self) -> Iterator[tuple[int, date]]:
        """(Level, day on which it was meant to be sent), were there neither delays nor holidays."""
        day = self.base_date
        for level in range(1, min(self.settings.reminders, MOST_REMINDERS) + 1):
            gap = self.settings.gap_days(level)
            if gap <= 0:
                return
            day += timedelta(days=gap)
            yield level, day

    def _last_level(self, cancel_after: int) -> int:
        """The last one that is meant to go out before the order is cancelled or overdue."""
        cancel_on = self.base_date + timedelta(days=cancel_after)
        levels = [level for level, day in self._chain() if not cancel_after or day < cancel_on]
        return max(levels, default=0)

    def _reminders(self, cancel_after: int) -> list[Step]:
        """Those still to come. The gap counts from when the one before was really sent (S49); a
        date set by hand moves them all (S58)."""
        if self.order.payment_code not in ASKED_CODES:
            return []
        last_level = self._last_level(cancel_after)
        sent_on = self.order.last_reminder_on
        found: list[Step] = []
        for level, meant in self._chain():
            if level <= self.order.level or level > last_level:
                continue
            nominal = self._after_asked(meant, self.settings.gap_days(level))
            if sent_on is not None:
                gap = self.settings.gap_days(level)
                nominal = self._after_asked(sent_on + timedelta(days=gap), gap)
                if self.order.base_date_by_hand is not None:
                    nominal = max(nominal, meant)
            if not self._may_write(kind_of(level)):
                break
            sent_on = self._mail_day(nominal)
            found.append(Step("reminder", level, sent_on))
        return found

    def _after_asked(self, nominal: date, days: int) -> date:
        patience = min(timedelta(days=days), LEAST_TIME_TO_PAY)
        known = [day for day in (self.order.asked_on, self.order.resumed_on) if day is not None]
        return max([nominal, *(day + patience for day in known)])

    def _requests(self, reminders: list[Step]) -> Iterator[Step]:
        """The payment information once more: it never comes when a reminder does (S45, K24)."""
        order = self.order
        if order.payment_status != "unpaid" or order.payment_code not in ASKED_CODES:
            return
        if order.asked_on is None or order.level:
            return
        limit = reminders[0].due_on if reminders else date.max
        before_due = self._before_due(limit)
        if before_due is not None:
            yield before_due
            limit = min(limit, before_due.due_on)
        after = self.settings.resend_after_days
        if after <= 0 or order.was_resent or order.was_asked_before_due:
            return
        asked_on = max(order.asked_on, order.base_date_by_hand or order.asked_on)
        nominal = asked_on + timedelta(days=after)
        if self._may_write(REQUEST) and self._mail_day(nominal) < limit:
            yield Step("resend", 0, self._mail_day(nominal))

    def _before_due(self, limit: date) -> Step | None:
        days, due_date = self.settings.resend_before_due_days, self.order.due_date
        if days <= 0 or due_date is None or self.order.was_asked_before_due:
            return None
        if self.not_before > due_date or not self._may_write(REQUEST):
            return None
        day = self._mail_day(due_date - timedelta(days=days))
        return Step("before_due", 0, day) if day <= due_date and day < limit else None

    def _enquiry(self) -> Step | None:
        after = self.settings.ask_unpaid_after_days
        if self.order.payment_code != "cash_on_delivery" or after <= 0:
            return None
        if self.order.payment_status != "unpaid" or self.order.enquired_on is not None:
            return None
        if not self._may_write("cod_enquiry"):
            return None
        return Step("enquiry", 0, self._mail_day(self.base_date + timedelta(days=after)))

    # --- the end

    def _cancel_after(self) -> int:
        """Days, or 0 where this order is not cancelled by itself."""
        after = self.settings.cancel_after_days
        if after <= 0 or not self.owes or self.order.is_cancelled:
            return 0
        if self.order.payment_status == "unpaid" or self.order.payment_code in LATE_CODES:
            return after
        self.hindered = "part_paid"
        return 0

    def _cancel(self, after: int, reminders: list[Step], enquiry: Step | None) -> Step | None:
        if not after:
            return None
        usual = self.base_date + timedelta(days=after)
        nominal = self._after_asked(usual, after)
        if self.order.resumed_on is not None:  # its days begin anew
            nominal = max(nominal, self.order.resumed_on + timedelta(days=after))
        meant = [day for _, day in self._chain() if day < usual]
        asks = self.order.payment_code == "cash_on_delivery"
        if asks and 0 < self.settings.ask_unpaid_after_days < after:
            meant = [self.base_date + timedelta(days=self.settings.ask_unpaid_after_days)]
        if meant and (self.order.has_email or self.order.letters):
            last = self._last_mail(reminders, enquiry)
            if last is not None:
                nominal = max(nominal, last + (usual - meant[-1]))
        return Step("cancel", 0, self._bank_day(nominal))

    def _collection(self, reminders: list[Step]) -> Step | None:
        after = self.settings.collect_after_days
        if self.order.payment_code != "invoice" or after <= 0 or self.order.is_collected:
            return None
        last_level = self._last_level(self.settings.cancel_after_days)
        chain = [(level, meant) for level, meant in self._chain() if level <= last_level]
        reached = max([self.order.level, *(step.level for step in reminders)])
        are_missing = self.settings.reminders and (not chain or reached < chain[-1][0])
        unfit = self._unfit_for_collection(are_missing=bool(are_missing))
        if unfit is not None:
            self.hindered = self.hindered or unfit
            return None
        return Step("collection", 0, self._collection_day(after, chain, reminders))

    def _unfit_for_collection(self, *, are_missing: bool) -> str | None:
        """Who may have paid, or waits for an answer, is given to nobody by itself (K61)."""
        order = self.order
        has_no_notice = self.settings.collect_base == "last_notice" and not self.settings.reminders
        why = {
            "no_invoice_number": not order.has_invoice_number,
            "claims_paid": order.claims_paid,
            "asks_for_time": order.asks_for_time,
            "reminders_missing": are_missing or (has_no_notice and not order.level),
        }
        return next((name for name, is_so in why.items() if is_so), None)

    def _collection_day(
        self, after: int, chain: Sequence[tuple[int, date]], reminders: list[Step]
    ) -> date:
        nominal = meant_on = self.base_date + timedelta(days=after)
        last = self._last_mail(reminders, None)
        if self.settings.collect_base == "last_notice" and last is not None:
            nominal = last + timedelta(days=after)
        elif chain and last is not None:
            level, meant = chain[-1]
            usual = timedelta(days=self.settings.gap_days(level))
            nominal = max(nominal, last + (meant_on - meant if meant_on > meant else usual))
        if self.order.left_collection_on is not None:
            nominal = max(nominal, self.order.left_collection_on + timedelta(days=after))
        return self._bank_day(nominal)

    def _last_mail(self, reminders: list[Step], enquiry: Step | None) -> date | None:
        """When the customer has heard, or will have heard, last before the end."""
        if enquiry is not None:
            return enquiry.due_on
        if reminders:
            return reminders[-1].due_on
        return self.order.last_reminder_on or self.order.enquired_on

    def _bank_day(self, nominal: date) -> date:
        return self.calendar.next_bank_day(max(nominal, self.not_before))
