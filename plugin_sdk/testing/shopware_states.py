"""The state machines of Shopware, and what it answers to a transition. Pure.

The stock machine as it is in a new shop: old and new actions side by side (``pay`` and ``paid``),
and gaps between them. From "reminded" and "paid_partially" only the old ``pay`` leads to "paid".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PAYMENT, ORDER, DELIVERY = "order_transaction.state", "order.state", "order_delivery.state"

# One line a state: action>target.
_PAYMENT_LINES = {
    "open": """pay>paid paid>paid pay_partially>paid_partially paid_partially>paid_partially
        cancel>cancelled remind>reminded do_pay>in_progress fail>failed authorize>authorized
        process_unconfirmed>unconfirmed""",
    "reminded": """pay>paid pay_partially>paid_partially cancel>cancelled reopen>open
        do_pay>in_progress authorize>authorized process_unconfirmed>unconfirmed""",
    "paid_partially": """remind>reminded pay>paid refund_partially>refunded_partially
        refund>refunded cancel>cancelled reopen>open do_pay>in_progress chargeback>chargeback
        process_unconfirmed>unconfirmed""",
    "paid": """refund_partially>refunded_partially refund>refunded cancel>cancelled reopen>open
        chargeback>chargeback""",
    "refunded_partially": "refund>refunded cancel>cancelled reopen>open",
    "refunded": "",
    "cancelled": """reopen>open refund>refunded refund_partially>refunded_partially paid>paid
        process_unconfirmed>unconfirmed""",
    "in_progress": """reopen>open fail>failed cancel>cancelled paid>paid
        paid_partially>paid_partially pay_partially>paid_partially authorize>authorized""",
    "failed": """reopen>open do_pay>in_progress pay>paid fail>failed paid>paid
        paid_partially>paid_partially pay_partially>paid_partially
        process_unconfirmed>unconfirmed""",
    "authorized": "paid>paid paid_partially>paid_partially fail>failed cancel>cancelled",
    "chargeback": "paid>paid paid_partially>paid_partially cancel>cancelled",
    "unconfirmed": """paid>paid paid_partially>paid_partially fail>failed cancel>cancelled
        authorize>authorized reopen>open""",
}
_ORDER_LINES = {
    "open": "process>in_progress cancel>cancelled",
    "in_progress": "complete>completed cancel>cancelled",
    "completed": "reopen>open",
    "cancelled": "reopen>open",
}
_DELIVERY_LINES = {
    "open": "ship>shipped ship_partially>shipped_partially cancel>cancelled",
    "shipped": """retour>returned retour_partially>returned_partially cancel>cancelled
        reopen>open""",
    "shipped_partially": """retour>returned retour_partially>returned_partially ship>shipped
        cancel>cancelled reopen>open""",
    "returned": "reopen>open",
    "returned_partially": "retour>returned reopen>open",
    "cancelled": "reopen>open",
}
NAMES = {
    "open": "Offen",
    "in_progress": "In Bearbeitung",
    "authorized": "Autorisiert",
    "unconfirmed": "Unbestätigt",
    "paid": "Bezahlt",
    "paid_partially": "Teilweise bezahlt",
    "reminded": "Erinnert",
    "failed": "Fehlgeschlagen",
    "cancelled": "Abgebrochen",
    "refunded": "Erstattet",
    "refunded_partially": "Teilweise erstattet",
    "chargeback": "Rückbuchung",
    "completed": "Abgeschlossen",
    "shipped": "Versandt",
    "shipped_partially": "Teilweise versandt",
    "returned": "Retour",
    "returned_partially": "Teilretour",
}


class Illegal(Exception):
    """No such transition from here; ``possible`` are the actions that there are."""

    def __init__(self, action: str, possible: list[str]) -> None:
        super().__init__(action)
        self.action = action
        self.possible = possible


@dataclass(frozen=True, slots=True)
class Machine:
    """States with their actions: state to action to next state. Merchants may change it."""

    name: str
    arrows: Mapping[str, Mapping[str, str]]

    def possible(self, state: str) -> list[tuple[str, str]]:
        """What leads away from a state: (action, target), by the action's name."""
        return sorted(self.arrows.get(state, {}).items())

    def after(self, state: str, action: str) -> str | None:
        """The state that an action leads to; None: the state stays and nothing is written.

        Where an action has no arrow, but leads to the present state from elsewhere, it is taken as
        done before. ``cancel`` is taken in every state. Raises Illegal.
        """
        here = self.arrows.get(state, {})
        if action in here and here[action] != state:
            return here[action]
        if action == "cancel" and "cancelled" in self.arrows:
            return "cancelled"
        if any(arrows.get(action) == state for arrows in self.arrows.values()):
            return None
        raise Illegal(action, [name for name, _ in self.possible(state)])


def _machine(name: str, lines: Mapping[str, str]) -> Machine:
    arrows = {
        state: dict(each.split(">", 1) for each in line.split()) for state, line in lines.items()
    }
    return Machine(name, arrows)


def stock_machines() -> dict[str, Machine]:
    """As in a shop whose merchant has changed nothing, by technical name."""
    pairs = ((PAYMENT, _PAYMENT_LINES), (ORDER, _ORDER_LINES), (DELIVERY, _DELIVERY_LINES))
    return {name: _machine(name, lines) for name, lines in pairs}
