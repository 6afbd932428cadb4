"""What a merchant can set: names, kinds, limits and defaults in one typed schema.

The schema is the one truth for API, form, validation, documentation and defaults. Pure; what is
stored, and by whom it was changed, is in ``service``. A file of its own because rooms above read
it at every decision and nothing else of this room.

A name without a dot is of everything; ``invoice.reminders`` is of one payment code (S43 to S54,
K22 to K29).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from plugin_sdk.types import PaymentCode

Level = Literal["careful", "normal", "eager"]
Assignment = Literal["auto", "review", "shadow"]
CreditMode = Literal["manual", "automatic"]
Mode = Literal["live", "test"]
AskWhen = Literal["at_once", "with_invoice", "by_shop"]
BaseDay = Literal["invoice_date", "order_date"]
PayableBase = Literal["order_date", "reminder_date"]
FeeRule = Literal["legal", "own"]
AddressForm = Literal["formal", "informal"]
LetterWhen = Literal["never", "mail_failed", "addresses_differ", "always"]
CollectBase = Literal["base_date", "last_notice"]
ReferenceKind = Literal["own", "rf", "order_number", "invoice_number"]
Kind = Literal["choice", "whole", "switch", "percent", "amounts"]

MOST_REMINDERS: Final = 5
MOST_CURRENCIES: Final = 10
HIGHEST_FEE: Final = Decimal(500)
MAX_TYPED_LENGTH: Final = 200


def _choice(default: str, *choices: str, per_shop: bool = True) -> Any:
    return field(default=default, metadata={"choices": choices, "per_shop": per_shop})


def _whole(default: int, lowest: int, highest: int, unit: str, *, per_shop: bool = True) -> Any:
    limits = {"lowest": lowest, "highest": highest, "unit": unit, "per_shop": per_shop}
    return field(default=default, metadata=limits)


def _switch(*, default: bool = False, is_risky: bool = False, per_shop: bool = True) -> Any:
    return field(default=default, metadata={"is_risky": is_risky, "per_shop": per_shop})


def _percent(highest: int) -> Any:
    return field(default=Decimal(0), metadata={"highest": highest, "unit": "percent"})


def _amounts() -> Any:
    return field(default_factory=dict, metadata={"unit": "amounts"})


def _days(highest: int = 730, *, is_risky: bool = False) -> Any:
    limits = {"lowest": 0, "highest": highest, "unit": "days", "is_risky": is_risky}
    return field(default=0, metadata=limits)


def _when_by_letter() -> Any:
    return _choice("never", "never", "mail_failed", "addresses_differ", "always")


def _months(default: int) -> Any:
    return _whole(default, 0, 240, "months", per_shop=False)


@dataclass(frozen=True, slots=True)
class CodeSettings:
    """What is in force for orders of one payment code. Days are the merchant's calendar days.

    ``ask_when``: payment information at once, only when there is an invoice number, or never,
    because the shop sends it (S44, K22, K15); reminders wait for the invoice number as well.
    ``resend_after_days``: once more after so many days, which is no reminder (S45).
    ``resend_before_due_days``: once more so many days before the contractual due date (K24).
    ``reminders``: how many (S46); the first ``first_reminder_days`` after the base date (S48), the
    n-th ``reminder_n_days`` after the one before (S49). ``reminder_base``: date of the first
    invoice, where there is one, or of the order. ``cancel_after_days``: cancelled (prepayment) or
    overdue (invoice, cash on delivery) so long after the base date (S50, K29).
    ``ask_unpaid_after_days``: ask whether the parcel was paid at the door (K29).
    ``payable_days``: "payable until" in mails, for display only (S52); in reminders
    ``reminder_payable_days`` (S53). 0 is off, or not shown.
    ``revive_cancelled``: a payment for a cancelled or overdue order counts as if it were not, and
    the shop is told (S54). ``charge_fees``, ``fee_rule``, ``fee_1`` ...: fees of the levels, by
    law of the customer's country or own ones by currency (K26, K27); ``charge_interest``:
    statutory interest (N15). ``claim_fees``: an order is not paid without them (K28).
    ``discount_percent``, ``discount_days``, ``net_days``: payment terms where the shop names none
    (S59). ``collect_after_days``: handed over to collection so long after the base date, or after
    the last notice, as ``collect_base`` says (K61).
    """

    ask_when: AskWhen = _choice("by_shop", "at_once", "with_invoice", "by_shop")
    resend_after_days: int = _days(365)
    resend_before_due_days: int = _days(60)
    payable_days: int = _days(365)
    reminders: int = field(
        default=0,
        metadata={"lowest": 0, "highest": MOST_REMINDERS, "unit": "times", "is_risky": True},
    )
    reminder_base: BaseDay = _choice("invoice_date", "invoice_date", "order_date")
    first_reminder_days: int = _days(365, is_risky=True)
    reminder_2_days: int = _days(365, is_risky=True)
    reminder_3_days: int = _days(365, is_risky=True)
    reminder_4_days: int = _days(365, is_risky=True)
    reminder_5_days: int = _days(365, is_risky=True)
    reminder_payable_days: int = _days(365)
    ask_unpaid_after_days: int = _days(365)
    cancel_after_days: int = _days(is_risky=True)
    revive_cancelled: bool = _switch()
    charge_fees: bool = _switch(is_risky=True)
    fee_rule: FeeRule = _choice("legal", "legal", "own")
    fee_1: Mapping[str, Decimal] = _amounts()
    fee_2: Mapping[str, Decimal] = _amounts()
    fee_3: Mapping[str, Decimal] = _amounts()
    fee_4: Mapping[str, Decimal] = _amounts()
    fee_5: Mapping[str, Decimal] = _amounts()
    charge_interest: bool = _switch(is_risky=True)
    claim_fees: bool = _switch(is_risky=True)
    discount_percent: Decimal = _percent(50)
    discount_days: int = _days(365)
    net_days: int = _days(365)
    collect_base: CollectBase = _choice("base_date", "base_date", "last_notice")
    collect_after_days: int = _days(is_risky=True)

    def gap_days(self, level: int) -> int:
        """Days before reminder ``level``: after the base date for 1, else after the one before."""
        assert 1 <= level <= MOST_REMINDERS
        return int(
            self.first_reminder_days if level == 1 else getattr(self, f"reminder_{level}_days")
        )

    def own_fee(self, level: int, currency: str) -> Decimal:
        """The merchant's own fee of a level; 0 where he has set none in this currency."""
        fees: Mapping[str, Decimal] = getattr(self, f"fee_{level}")
        return fees.get(currency, Decimal(0))


_REMINDING = {
    "ask_when": "at_once",
    "resend_after_days": 0,
    "payable_days": 0,
    "reminders": 1,
    "reminder_base": "invoice_date",
    "first_reminder_days": 7,
    "reminder_2_days": 7,
    "reminder_3_days": 7,
    "reminder_4_days": 7,
    "reminder_5_days": 7,
    "reminder_payable_days": 0,
    "cancel_after_days": 0,
    "revive_cancelled": False,
}
CODE_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "prepayment": _REMINDING,
    "invoice": {
        **_REMINDING,
        "resend_before_due_days": 0,
        "reminders": 2,
        "first_reminder_days": 21,
        "reminder_2_days": 10,
        "revive_cancelled": True,  # the goods are with the customer: paid late is paid
        "charge_fees": False,
        "fee_rule": "legal",
        **{f"fee_{level}": {} for level in range(1, MOST_REMINDERS + 1)},
        "charge_interest": False,
        "claim_fees": False,
        "discount_percent": Decimal(0),
        "discount_days": 0,
        "net_days": 0,
        "collect_base": "base_date",
        "collect_after_days": 0,
    },
    "cash_on_delivery": {
        "ask_unpaid_after_days": 0,
        "cancel_after_days": 0,
        "revive_cancelled": False,
    },
}
"""Which settings each payment code has, and what they are until somebody sets them."""

_CODES: Final = {code: replace(CodeSettings(), **values) for code, values in CODE_DEFAULTS.items()}
_NOTHING: Final = CodeSettings()
_PLANNED_MAILS: Final = ("payment_information", "reminder", "dunning_notice", "cod_enquiry")


@dataclass(frozen=True, slots=True)
class MerchantSettings:
    """The values in force. A shop may have its own (S43), but of how postings are decided: a
    posting is nobody's until it is.

    ``assignment``: ``auto`` books what is sure; ``review`` proposes it and a person books (C5);
    ``shadow`` decides and shows, beside the process that runs today (N3).
    ``match_level``: how sure the matcher must be (C6). ``tolerance_cents``: a deviation up or
    down that counts as exact (K21, C7). ``claim_bank_fees``: money that lacks a bank's fee is an
    underpayment (K30). ``zero_is_paid``: an order of nothing needs no payment (K32).
    ``max_order_age_days``: older orders are only suggested, 0 = no limit (C9).
    ``discount_grace_days``: days that a transfer with discount may be late (N16).
    ``accept_late_discount``: later than that it counts as well; else it is a part payment (N16).
    ``assign_cancelled``: a payment for a cancelled order is assigned like any other (S51).
    ``credit_mode``: what a customer has too much waits for a person, or pays his next order (C12).

    ``mode``: in ``test`` mails to customers go to the merchant and no shop is written to (K66).
    ``stop_mails``: nothing goes to any customer. ``mail_wait_seconds``: a new order's first
    payment information waits so long, and an edit in that time replaces it.
    ``bank_data_hours``: no reminder, cancellation or collection on older bank data, in hours of
    banking days (N5). ``run_hour``: the daily run begins then, merchant's time.
    ``saturday_reminders``: Saturdays are good for reminders; Sundays and holidays never are.
    ``reminder_payable_base``: what ``reminder_payable_days`` count from (S53, K35).
    ``claim_pause_days``: reminders rest so long after "I have paid" (S61).
    ``monitoring_delay_hours``: watched orders of other payment codes come in so much later (S55).
    ``reference_kind``: what customers are asked to write (K16, K35).
    ``address_form``: how mails address a customer in languages that know two forms (K20).
    ``mail_`` with the name of a customer's kind of mail: whether there is any (S1, K37).
    ``letter_`` with a kind: when it goes by letter as well (S47, K60). ``letter_registered``: the
    last notice is registered. ``letter_slip``: an invoice by letter encloses a payment slip.
    ``letter_to_delivery``: what goes to the billing address also goes to a differing delivery
    address. ``letter_cutoff_hour``: until then, the merchant's time, a letter can be cancelled.
    ``refund_ask_customer``: ask for bank details that are missing (K31). ``refund_wait_days``:
    bank days in which the customer may change them (K33). ``repay_surplus``: what came too much
    goes back by itself (K59), from ``repay_surplus_cents`` on. ``refund_second_from``: so much and
    more, in whole units of the currency, needs a second person, 0 is never (C18).
    ``page_more_days``: longest time that a customer may ask for on his page, 0 = he may not (N8).
    ``keep_`` with a kind of data: after so many months it is removed, 0 = it is kept (S86).
    ``approve_changes``: what may hurt customers is in force when a second person agrees (N21).
    ``prepayment``, ``invoice``, ``cash_on_delivery``: see ``CodeSettings``.
    """

    assignment: Assignment = _choice("auto", "auto", "review", "shadow", per_shop=False)
    match_level: Level = _choice("normal", "careful", "normal", "eager", per_shop=False)
    tolerance_cents: int = _whole(1, 0, 10_000, "cents")
    claim_bank_fees: bool = _switch()
    zero_is_paid: bool = _switch(default=True)
    max_order_age_days: int = _whole(90, 0, 3650, "days")
    discount_grace_days: int = _whole(3, 0, 60, "days")
    accept_late_discount: bool = _switch()
    assign_cancelled: bool = _switch()
    credit_mode: CreditMode = _choice("manual", "manual", "automatic")
    mode: Mode = _choice("live", "live", "test")
    stop_mails: bool = _switch(per_shop=False)
    mail_wait_seconds: int = _whole(60, 0, 3600, "seconds")
    bank_data_hours: int = _whole(72, 1, 336, "hours")
    run_hour: int = _whole(9, 0, 23, "hour", per_shop=False)
    saturday_reminders: bool = _switch()
    reminder_payable_base: PayableBase = _choice("reminder_date", "order_date", "reminder_date")
    claim_pause_days: int = _whole(5, 0, 60, "days")
    monitoring_delay_hours: int = _whole(48, 0, 720, "hours")
    reference_kind: ReferenceKind = _choice("own", "own", "rf", "order_number", "invoice_number")
    address_form: AddressForm = _choice("formal", "formal", "informal")
    mail_payment_information: bool = _switch(default=True)
    mail_reminder: bool = _switch(default=True)
    mail_dunning_notice: bool = _switch(default=True)
    mail_cod_enquiry: bool = _switch(default=True)
    mail_partially_paid: bool = _switch(default=True)
    mail_order_cancelled: bool = _switch(default=True)
    mail_order_overdue: bool = _switch()
    mail_more_time_answer: bool = _switch(default=True)
    mail_bank_details_request: bool = _switch(default=True)
    mail_direct_debit_announced: bool = _switch(default=True)
    mail_payment_received: bool = _switch(default=True)
    mail_overpaid: bool = _switch(default=True)
    mail_refund_announced: bool = _switch(default=True)
    mail_refund_executed: bool = _switch(default=True)
    letter_payment_information: LetterWhen = _when_by_letter()
    letter_reminder: LetterWhen = _when_by_letter()
    letter_dunning_notice: LetterWhen = _when_by_letter()
    letter_invoice: LetterWhen = _when_by_letter()
    letter_registered: bool = _switch()
    letter_slip: bool = _switch(default=True)
    letter_to_delivery: bool = _switch()
    letter_cutoff_hour: int = _whole(14, 0, 23, "hour", per_shop=False)
    refund_ask_customer: bool = _switch(default=True)
    refund_wait_days: int = _whole(5, 0, 30, "days")
    repay_surplus: bool = _switch(is_risky=True)
    repay_surplus_cents: int = _whole(100, 0, 1_000_000, "cents")
    refund_second_from: int = _whole(500, 0, 10_000_000, "units", per_shop=False)
    page_more_days: int = _whole(14, 0, 90, "days")
    keep_mails: int = _months(36)
    keep_letters: int = _months(36)
    keep_proofs: int = _months(12)
    keep_bank_files: int = _months(120)
    keep_customers: int = _months(120)
    approve_changes: bool = _switch(per_shop=False)
    prepayment: CodeSettings = _CODES["prepayment"]
    invoice: CodeSettings = _CODES["invoice"]
    cash_on_delivery: CodeSettings = _CODES["cash_on_delivery"]

    @property
    def tolerance(self) -> Decimal:
        """In the currency of the order."""
        return Decimal(self.tolerance_cents).scaleb(-2)

    def sends(self, kind: str) -> bool:
        """Does the merchant want this kind of mail to customers at all?"""
        wanted: bool = getattr(self, f"mail_{kind}")
        return wanted

    def of(self, code: str) -> CodeSettings:
        """Of a payment code, as far as its mails are switched on (S1); orders of code ``other``
        are asked for nothing. What the forms show is ``value_in``."""
        found: CodeSettings = getattr(self, code, _NOTHING) if code in CODE_DEFAULTS else _NOTHING
        return found if all(map(self.sends, _PLANNED_MAILS)) else self._without_silent(found)

    def _without_silent(self, own: CodeSettings) -> CodeSettings:
        """No step is planned whose mail is switched off, nor the levels after it."""
        most = MOST_REMINDERS if self.mail_dunning_notice else 1
        asks_again = self.mail_payment_information
        return replace(
            own,
            reminders=min(own.reminders, most if self.mail_reminder else 0),
            resend_after_days=own.resend_after_days if asks_again else 0,
            resend_before_due_days=own.resend_before_due_days if asks_again else 0,
            ask_unpaid_after_days=own.ask_unpaid_after_days if self.mail_cod_enquiry else 0,
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """One name of the schema.

    ``kind``: ``choice``, ``whole`` (a number), ``switch``, ``percent`` (a Decimal) or ``amounts``
    ({currency: Decimal}). ``per_shop``: a shop may have its own value. ``is_risky``: a wrong value
    reaches customers, so a second person may have to agree. ``code``: the payment code that it is
    of, or None.
    """

    name: str
    kind: Kind
    default: Any
    choices: tuple[str, ...] = ()
    lowest: int = 0
    highest: int = 0
    unit: str = ""
    per_shop: bool = True
    is_risky: bool = False
    code: PaymentCode | None = None

    @property
    def field(self) -> str:
        """The name without its payment code: what the texts are called by."""
        return self.name.rpartition(".")[2]


def _setting(name: str, default: Any, metadata: Mapping[str, Any], code: str | None) -> Setting:
    kind: Kind = "whole"
    if isinstance(default, bool):
        kind = "switch"
    elif isinstance(default, Decimal):
        kind = "percent"
    elif isinstance(default, Mapping):
        kind = "amounts"
    elif "choices" in metadata:
        kind = "choice"
    return Setting(name, kind, default, **metadata, code=PaymentCode(code) if code else None)


def _schema() -> dict[str, Setting]:
    found = {
        each.name: _setting(each.name, each.default, each.metadata, None)
        for each in fields(MerchantSettings)
        if each.name not in CODE_DEFAULTS
    }
    known = {each.name: each for each in fields(CodeSettings)}
    for code, defaults in CODE_DEFAULTS.items():
        for each in known.values():
            if each.name in defaults:
                name = f"{code}.{each.name}"
                found[name] = _setting(name, defaults[each.name], each.metadata, code)
    return found


SCHEMA: Final[Mapping[str, Setting]] = _schema()


def checked(name: str, typed: str) -> Any:
    """What somebody typed, as it is stored in JSON. Raises ValueError with a message key."""
    setting = SCHEMA.get(name)
    if setting is None:
        raise ValueError("setting_unknown")
    typed = typed.strip()
    if setting.kind == "switch":
        if typed not in ("on", "off", "true", "false"):
            raise ValueError("setting_no_switch")
        return typed in ("on", "true")
    if setting.kind == "choice":
        if typed not in setting.choices:
            raise ValueError("setting_no_choice")
        return typed
    if setting.kind == "percent":
        return str(_checked_number(typed or "0", Decimal(setting.highest)))
    if setting.kind == "amounts":
        return _checked_amounts(typed)
    if not typed.isascii() or not typed.isdecimal() or len(typed) > len(str(setting.highest)):
        raise ValueError("setting_no_number")
    if not setting.lowest <= int(typed) <= setting.highest:
        raise ValueError("setting_out_of_range")
    return int(typed)


def _checked_number(typed: str, highest: Decimal) -> Decimal:
    """With at most two decimals, behind a point or comma."""
    try:
        value = Decimal(typed.replace(",", "."))
    except InvalidOperation:
        raise ValueError("setting_no_number") from None
    if not value.is_finite():
        raise ValueError("setting_no_number")
    if not 0 <= value <= highest or value != value.quantize(Decimal("0.01")):
        raise ValueError("setting_out_of_range")
    return value


def _checked_amounts(typed: str) -> dict[str, str]:
    """``2.50 EUR; 5 CHF``, the currency before or behind; an empty text is no amount at all."""
    if len(typed) > MAX_TYPED_LENGTH:
        raise ValueError("setting_no_amounts")
    amounts: dict[str, str] = {}
    for part in typed.replace("\n", ";").split(";"):
        words = part.upper().split()
        if not words:
            continue
        currency = next((word for word in words if word.isascii() and word.isalpha()), "")
        numbers = [word for word in words if word != currency]
        if len(currency) != 3 or len(numbers) != 1 or currency in amounts:
            raise ValueError("setting_no_amounts")
        amounts[currency] = str(_checked_number(numbers[0], HIGHEST_FEE))
    if len(amounts) > MOST_CURRENCIES:
        raise ValueError("setting_no_amounts")
    return amounts


def as_typed(value: Any) -> str:
    """A stored value or one in force as its field holds it, and as ``checked`` reads it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return "; ".join(f"{amount} {currency}" for currency, amount in sorted(value.items()))
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return str(value)


def value_in(settings: MerchantSettings, name: str) -> Any:
    """The value in force of a name of the schema."""
    code, _, own = name.rpartition(".")
    return getattr(getattr(settings, code) if code else settings, own)


def in_force(stored: Mapping[str, Any]) -> MerchantSettings:
    """The defaults with what is stored on top; a name that is no longer known is left out."""
    own: dict[str, Any] = {}
    of_codes: dict[str, dict[str, Any]] = {}
    for name, value in stored.items():
        if name not in SCHEMA:
            continue
        code, _, plain = name.rpartition(".")
        read = _as_value(SCHEMA[name].kind, value)
        (of_codes.setdefault(code, {}) if code else own)[plain] = read
    for code, values in of_codes.items():
        own[code] = replace(_CODES[code], **values)
    return MerchantSettings(**own)


def _as_value(kind: Kind, stored: Any) -> Any:
    if kind == "percent":
        return Decimal(stored)
    if kind == "amounts":
        return {currency: Decimal(amount) for currency, amount in stored.items()}
    return stored
