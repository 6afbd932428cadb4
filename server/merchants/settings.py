"""What a merchant can set: names, kinds, limits and defaults in one typed schema.

The schema is the one truth for API, form, validation, documentation and defaults. Pure; what is
stored, and by whom it was changed, is in ``service``. A file of its own because rooms above read
it at every decision and nothing else of this room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Final, Literal

Level = Literal["careful", "normal", "eager"]
Assignment = Literal["auto", "review", "shadow"]
CreditMode = Literal["manual", "automatic"]


def _choice(default: str, *choices: str, per_shop: bool = True) -> Any:
    return field(default=default, metadata={"choices": choices, "per_shop": per_shop})


def _whole(default: int, lowest: int, highest: int, unit: str) -> Any:
    limits = {"lowest": lowest, "highest": highest, "unit": unit}
    return field(default=default, metadata=limits)


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
    """

    assignment: Assignment = _choice("auto", "auto", "review", "shadow", per_shop=False)
    match_level: Level = _choice("normal", "careful", "normal", "eager", per_shop=False)
    tolerance_cents: int = _whole(1, 0, 10_000, "cents")
    claim_bank_fees: bool = field(default=False)
    zero_is_paid: bool = field(default=True)
    max_order_age_days: int = _whole(90, 0, 3650, "days")
    discount_grace_days: int = _whole(3, 0, 60, "days")
    accept_late_discount: bool = field(default=False)
    assign_cancelled: bool = field(default=False)
    credit_mode: CreditMode = _choice("manual", "manual", "automatic")

    @property
    def tolerance(self) -> Decimal:
        """In the currency of the order."""
        return Decimal(self.tolerance_cents).scaleb(-2)


@dataclass(frozen=True, slots=True)
class Setting:
    """One name of the schema. ``kind``: ``choice``, ``whole`` (a number) or ``switch``.

    ``per_shop``: a shop may have its own value.
    """

    name: str
    kind: Literal["choice", "whole", "switch"]
    default: str | int | bool
    choices: tuple[str, ...] = ()
    lowest: int = 0
    highest: int = 0
    unit: str = ""
    per_shop: bool = True


def _setting(name: str, default: Any, metadata: Mapping[str, Any]) -> Setting:
    if isinstance(default, bool):
        return Setting(name, "switch", default)
    return Setting(name, "choice" if "choices" in metadata else "whole", default, **metadata)


SCHEMA: Final[Mapping[str, Setting]] = {
    each.name: _setting(each.name, each.default, each.metadata) for each in fields(MerchantSettings)
}


def checked(name: str, typed: str) -> str | int | bool:
    """What somebody typed, as it is stored. Raises ValueError with a message key."""
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
    if not typed.isascii() or not typed.isdecimal() or len(typed) > len(str(setting.highest)):
        raise ValueError("setting_no_number")
    if not setting.lowest <= int(typed) <= setting.highest:
        raise ValueError("setting_out_of_range")
    return int(typed)


def in_force(stored: Mapping[str, Any]) -> MerchantSettings:
    """The defaults with what is stored on top; a name that is no longer known is left out."""
    return MerchantSettings(**{name: stored[name] for name in SCHEMA if name in stored})
