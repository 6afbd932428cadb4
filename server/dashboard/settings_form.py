"""The form of the settings: which name stands where, where its value comes from, what it means.

Made from ``merchants.settings.SCHEMA``: a new name there needs its texts and a place in ``TABS``.
A file of its own because the pages, the log and the settings file say values the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from server.dashboard import words
from server.dashboard.settings_timeline import sent_levels
from server.merchants.settings import (
    MOST_REMINDERS,
    SCHEMA,
    MerchantSettings,
    Setting,
    as_typed,
    checked,
    in_force,
    value_in,
)

MAX_SHOWN_LENGTH: Final = 200
LEVELS: Final = range(1, MOST_REMINDERS + 1)
_GAPS: Final = ("first_reminder_days", *(f"reminder_{level}_days" for level in LEVELS if level > 1))
_FEES: Final = tuple(f"fee_{level}" for level in LEVELS)
_ASK: Final = ("ask_when", "resend_after_days", "resend_before_due_days", "payable_days")
_REMIND: Final = ("reminders", "reminder_base", *_GAPS, "reminder_payable_days")
_END: Final = (
    "ask_unpaid_after_days",
    "cancel_after_days",
    "revive_cancelled",
    "collect_base",
    "collect_after_days",
)
_OF_A_CODE: Final[Mapping[str, tuple[str, ...]]] = {
    "ask": _ASK,
    "remind": _REMIND,
    "end": _END,
    "fees": ("charge_fees", "fee_rule", *_FEES, "charge_interest", "claim_fees"),
    "terms": ("discount_percent", "discount_days", "net_days"),
}


def _of_code(code: str) -> dict[str, tuple[str, ...]]:
    groups = {
        group: tuple(f"{code}.{name}" for name in names if f"{code}.{name}" in SCHEMA)
        for group, names in _OF_A_CODE.items()
    }
    return {group: names for group, names in groups.items() if names}


TABS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "assignment": {
        "mode": ("assignment", "match_level", "max_order_age_days", "assign_cancelled"),
        "amounts": ("tolerance_cents", "claim_bank_fees", "zero_is_paid"),
        "discount": ("discount_grace_days", "accept_late_discount"),
        "credit": ("credit_mode",),
    },
    "prepayment": _of_code("prepayment"),
    "invoice": _of_code("invoice"),
    "cash_on_delivery": _of_code("cash_on_delivery"),
    "mails": {
        "mandatory": (
            "mail_payment_information",
            "mail_reminder",
            "mail_dunning_notice",
            "mail_cod_enquiry",
            "mail_partially_paid",
            "mail_order_cancelled",
            "mail_order_overdue",
            "mail_more_time_answer",
            "mail_bank_details_request",
            "mail_direct_debit_announced",
        ),
        "optional": (
            "mail_payment_received",
            "mail_overpaid",
            "mail_refund_announced",
            "mail_refund_executed",
        ),
        "tone": ("address_form",),
    },
    "letters": {
        "which": (
            "letter_payment_information",
            "letter_reminder",
            "letter_dunning_notice",
            "letter_invoice",
        ),
        "how": ("letter_registered", "letter_slip", "letter_to_delivery", "letter_cutoff_hour"),
    },
    "refunds": {
        "details": ("refund_ask_customer", "refund_wait_days"),
        "surplus": ("repay_surplus", "repay_surplus_cents"),
        "guard": ("refund_second_from",),
    },
    "more": {
        "brakes": ("mode", "stop_mails", "mail_wait_seconds"),
        "run": ("run_hour", "saturday_reminders", "bank_data_hours", "claim_pause_days"),
        "wording": ("reference_kind", "reminder_payable_base"),
        "watch": ("monitoring_delay_hours",),
        "page": ("page_more_days",),
        "keep": (
            "keep_mails",
            "keep_letters",
            "keep_proofs",
            "keep_bank_files",
            "keep_customers",
        ),
        "care": ("approve_changes",),
    },
}
"""Every name of the schema, on its page and in its group."""


def tab_of(name: str) -> str:
    """The page that a setting stands on."""
    return next(
        tab for tab, groups in TABS.items() if any(name in names for names in groups.values())
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the form. ``typed`` is what its field holds, ``inherited`` what else would be.

    ``in_use`` goes along with the form: a field that still holds it was not touched, whatever
    somebody else has set meanwhile.
    ``origin``: ``default`` (Kontor's), ``merchant`` (set for all shops) or ``shop`` (only here).
    ``is_own``: set at the very place that the form is about, so it can be taken back.
    ``is_idle``: other settings keep this one from having an effect.
    """

    setting: Setting
    typed: str
    in_use: str
    origin: str
    inherited: str
    is_own: bool
    is_idle: bool
    problem: str | None = None

    @property
    def id(self) -> str:
        """For labels: a name without its dot."""
        return self.setting.name.replace(".", "-")


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are read together; those without an effect are folded away."""

    name: str
    rows: Sequence[Row]
    idle: Sequence[Row]


def groups_of(
    tab: str,
    general: Mapping[str, Any],
    own: Mapping[str, Any] | None,
    retyped: Mapping[str, str],
    problems: Mapping[str, str],
) -> list[Group]:
    """The form of a page. ``own`` are the values of a shop, None in the form for all shops.

    ``retyped`` is what somebody just typed, shown again beside ``problems`` (name to message key).
    """
    inherited = in_force(general if own is not None else {})
    now_set = in_force({**general, **(own or {})})
    idle = idle_names(now_set)
    groups = []
    for group, names in TABS[tab].items():
        rows = []
        for name in names:
            if own is not None and not SCHEMA[name].per_shop:
                continue
            origin = _origin(name, general, own)
            typed = as_typed(value_in(now_set, name))
            rows.append(
                Row(
                    SCHEMA[name],
                    retyped.get(name, typed)[:MAX_SHOWN_LENGTH],
                    typed,
                    origin,
                    as_typed(value_in(inherited, name)),
                    is_own=origin == ("merchant" if own is None else "shop"),
                    is_idle=name in idle,
                    problem=problems.get(name),
                )
            )
        if rows:
            groups.append(_folded(group, rows))
    return groups


def _origin(name: str, general: Mapping[str, Any], own: Mapping[str, Any] | None) -> str:
    if own is not None and name in own:
        return "shop"
    return "merchant" if name in general else "default"


def _folded(group: str, rows: Sequence[Row]) -> Group:
    """What has a problem is never folded away."""
    hidden = [row for row in rows if row.is_idle and row.problem is None]
    return Group(group, [row for row in rows if row not in hidden], hidden)


def idle_names(settings: MerchantSettings) -> frozenset[str]:
    """Names without an effect at present: levels that are not sent, fees that are not charged."""
    found: set[str] = set()
    for code in ("prepayment", "invoice"):
        of = settings.of(code)
        # The level whose pause of 0 days ends the row stays in sight: it is the reason.
        unsent = [level for level in LEVELS if level > min(of.reminders, sent_levels(of) + 1)]
        idle = {_GAPS[level - 1] for level in unsent} | {_FEES[level - 1] for level in unsent}
        if of.reminders == 0:
            idle |= {"reminder_base", "reminder_payable_days", "fee_rule"}
        if not of.charge_fees:
            idle |= {"fee_rule", "claim_fees"}
        if not of.charge_fees or of.fee_rule == "legal":
            idle |= set(_FEES)
        if not of.discount_percent:
            idle.add("discount_days")
        found |= {f"{code}.{name}" for name in idle}
    return frozenset(found & SCHEMA.keys())


# --- words --------------------------------------------------------------------------------------


def text_key(setting: Setting, part: str) -> str:
    """Where a text of a setting stands: its payment code's own one, or one for all codes."""
    own = f"{setting.code.value}.{setting.field}.{part}" if setting.code else ""
    if own and words.has_text(f"setting.{own}"):
        return f"setting.{own}"
    return f"setting.{setting.field}.{part}"


def name_of(name: str) -> str:
    """``Rechnung: Anzahl``, for lists that mix the pages; an unknown name stays as it is."""
    setting = SCHEMA.get(name)
    if setting is None:
        return name
    label = str(words.t(text_key(setting, "label")))
    if setting.code is None:
        return label
    return f"{words.t(f'payment_code.{setting.code.value}')}: {label}"


def say_value(setting: Setting, typed: str) -> str:
    """``1 Cent``, ``ja``, ``Ausgewogen``; what is no value of the setting stays as it is."""
    try:
        value = checked(setting.name, typed)
    except ValueError:
        return typed
    if isinstance(value, bool):
        return str(words.t("common.yes" if value else "common.no"))
    if isinstance(value, dict):
        return as_typed(value) or str(words.t("settings.no_amount"))
    if setting.kind == "choice":
        return str(words.t(text_key(setting, str(value))))
    if setting.kind == "percent":
        share = Decimal(value) / 100
        return words.percent(share, decimals=0 if share * 100 % 1 == 0 else 2)
    return str(words.t(f"setting_unit.{setting.unit}", n=value))


def said(name: str, stored: Any) -> str | None:
    """A stored value in words; None is "as inherited"."""
    if stored is None:
        return None
    return say_value(SCHEMA[name], as_typed(stored)) if name in SCHEMA else as_typed(stored)
