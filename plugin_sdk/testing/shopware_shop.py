"""What a fake Shopware holds, and what happens in it: orders, payments, documents, drafts."""

from __future__ import annotations

import copy
import itertools
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from plugin_sdk.testing import shopware_orders as rows
from plugin_sdk.testing.shopware_orders import LIVE, Json, new_id, number, row, stamp
from plugin_sdk.testing.shopware_search import Problem
from plugin_sdk.testing.shopware_states import (
    DELIVERY,
    ORDER,
    PAYMENT,
    Illegal,
    Machine,
    stock_machines,
)
from plugin_sdk.testing.shopware_webhooks import Event, entity_event, order_event

MACHINES = {"order": ORDER, "order_transaction": PAYMENT, "order_delivery": DELIVERY}
FIRST_NUMBER = 10_001
ABANDONED = ("cancelled", "failed")


@dataclass(slots=True)
class Mail:
    """A mail that a flow of the shop sent to a customer."""

    order_id: str
    state: str


@dataclass(slots=True)
class Store:
    """The shop's tables. All changes under ``lock``. ``events``: what is still to be told."""

    now: Callable[[], datetime]
    version: str
    lock: threading.RLock
    machines: dict[str, Machine] = field(default_factory=stock_machines)
    orders: dict[str, Json] = field(default_factory=dict)
    drafts: dict[str, dict[str, Json]] = field(default_factory=dict)
    history: list[Json] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    machine_rows: dict[str, Json] = field(default_factory=dict)
    states: dict[tuple[str, str], Json] = field(default_factory=dict)
    methods: dict[str, Json] = field(default_factory=dict)
    currencies: dict[str, Json] = field(default_factory=dict)
    countries: dict[str, Json] = field(default_factory=dict)
    locales: dict[str, Json] = field(default_factory=dict)
    languages: dict[str, Json] = field(default_factory=dict)
    channels: dict[str, Json] = field(default_factory=dict)
    document_types: dict[str, Json] = field(default_factory=dict)
    shipping_methods: list[Json] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Everything that a shop has before its first order."""
        now = self.now()
        self.numbers = itertools.count(1)
        for name, machine in self.machines.items():
            self.machine_rows[name] = row("state_machine", now, technicalName=name, name=name)
            for state in machine.arrows:
                made = rows.state_row(self.machine_rows[name], state, now)
                self.states[name, state] = made
        named = self.is_at_least(6, 5, 7)
        for method in rows.METHODS:
            self.methods[method.technical_name] = rows.method_row(method, now, named=named)
        for code, (name, factor) in rows.CURRENCIES.items():
            self.currencies[code] = row("currency", now, isoCode=code, name=name, factor=factor)
        self.currencies["EUR"]["id"] = rows.EURO
        for code, name in rows.COUNTRIES.items():
            self.countries[code] = row("country", now, iso=code, name=name, active=True)
        for code, name in rows.LOCALES.items():
            self.locales[code] = row("locale", now, code=code, name=name)
            self.languages[code] = row("language", now, name=name, locale=self.locales[code])
        self.languages["de-DE"]["id"] = rows.GERMAN
        for code, name in rows.DOCUMENT_TYPES.items():
            made = row("document_type", now, technicalName=code, name=name)
            self.document_types[code] = made
        self.shipping_methods.append(row("shipping_method", now, name="Standard", active=True))
        self.add_channel("Storefront")

    def is_at_least(self, *numbers: int) -> bool:
        """Is the shop's version this one or a later one?"""
        return tuple(int(each) for each in re.findall(r"\d+", self.version)[:3]) >= numbers

    @property
    def lacking(self) -> frozenset[str]:
        """Fields that came with later versions."""
        lacking = set()
        if not self.is_at_least(6, 5, 7):
            lacking |= {"payment_method.technicalName", "document.documentNumber"}
        if not self.is_at_least(6, 7, 1):
            lacking |= {
                "order.primaryOrderTransactionId",
                "order.primaryOrderTransaction",
                "order.internalComment",
            }
        return frozenset(lacking)

    def add_channel(self, name: str) -> Json:
        """A sales channel, by its name."""
        made = row("sales_channel", self.now(), name=name, translated={"name": name})
        self.channels[name] = made
        return made

    def rows(self, entity: str, version: str | None = None) -> list[Json]:
        """The rows of an entity; of orders those of a draft where it has them."""
        orders = list(self.orders.values())
        draft = self.drafts.get(version or "", {})
        if draft:
            orders = [draft.get(each["id"], each) for each in orders]
        inner = {
            "order_transaction": "transactions",
            "order_delivery": "deliveries",
            "order_line_item": "lineItems",
            "order_address": "addresses",
            "document": "documents",
        }
        if entity == "order":
            return orders
        if entity in inner:
            return [each for order in orders for each in order[inner[entity]]]
        if entity == "order_customer":
            return [order["orderCustomer"] for order in orders]
        if entity == "state_machine_transition":
            return list(self._arrows())
        return self._tables().get(entity, [])

    def create(self, wanted: Mapping[str, Any]) -> Json:
        """An order as a checkout makes it; ``FakeShopware.add_order`` says what may be wanted."""
        with self.lock:
            now = self.now()
            order = self._new_order(wanted, now)
            billing = rows.address(wanted["billing"], self.countries, now)
            order |= {"billingAddressId": billing["id"], "billingAddress": billing}
            order["addresses"] = [billing]
            shipping = billing
            if wanted.get("shipping"):
                shipping = rows.address(wanted["shipping"], self.countries, now)
                order["addresses"].append(shipping)
            opened = self.states[DELIVERY, "open"]
            codes = wanted.get("tracking_numbers", ())
            way = self.shipping_methods[0]
            order["deliveries"] = [rows.delivery(shipping, way, opened, codes, now)]
            order["orderCustomer"] = _customer(wanted, billing, now)
            for each in (*order["addresses"], *order["deliveries"], order["orderCustomer"]):
                each["orderId"] = order["id"]
            for line in order["lineItems"]:
                line["orderId"] = order["id"]
            self.orders[order["id"]] = order
            if wanted.get("payment_method"):
                self.add_payment(order, str(wanted["payment_method"]))
            self.events += [
                entity_event("order.written", order["id"], "insert"),
                order_event("checkout.order.placed", order),
            ]
            return order

    def _new_order(self, wanted: Mapping[str, Any], now: datetime) -> Json:
        lines = rows.line_items(wanted["line_items"], now)
        total = sum((Decimal(str(line["totalPrice"])) for line in lines), Decimal(0))
        total = Decimal(str(wanted.get("total") or total))
        currency = self.currencies[str(wanted.get("currency", "EUR"))]
        language = self.languages[str(wanted.get("language", "de-DE"))]
        channel = self.channels[str(wanted.get("sales_channel", "Storefront"))]
        state = self.states[ORDER, "open"]
        at = next(self.numbers)
        tax_status = str(wanted.get("tax_status", "gross"))
        order = row(
            "order",
            now,
            versionId=LIVE,
            autoIncrement=at,
            orderNumber=str(wanted.get("number", FIRST_NUMBER - 1 + at)),
            orderDateTime=stamp(now),
            orderDate=f"{now:%Y-%m-%d}T00:00:00.000+00:00",
            currencyId=currency["id"],
            currency=currency,
            currencyFactor=currency["factor"],
            languageId=language["id"],
            language=language,
            salesChannelId=channel["id"],
            salesChannel=channel,
            amountTotal=number(total),
            price=rows.price(total, tax_status),
            taxStatus=tax_status,
            shippingTotal=0,
            deepLinkCode=secrets.token_urlsafe(24),
            stateId=state["id"],
            stateMachineState=state,
            lineItems=lines,
            transactions=[],
            documents=[],
        )
        if self.is_at_least(6, 7, 1):
            order |= {"primaryOrderTransactionId": None, "internalComment": None}
        return order

    def add_payment(self, order: Json, method: str) -> Json:
        """The customer pays in another way: what was open is cancelled, another one opened."""
        now = self.now()
        for each in order["transactions"]:
            if each["stateMachineState"]["technicalName"] not in ABANDONED:
                self.enter(order, "order_transaction", each, "cancelled")
        opened = self.states[PAYMENT, "open"]
        made = rows.payment(order, self.methods[method], opened, now)
        order["transactions"].append(made)
        if "primaryOrderTransactionId" in order:
            order["primaryOrderTransactionId"] = made["id"]
        return made

    def active(self, order: Json) -> Json:
        """The payment that counts: the last one that is neither cancelled nor failed."""
        payments: list[Json] = order["transactions"]
        alive = [
            each for each in payments if each["stateMachineState"]["technicalName"] not in ABANDONED
        ]
        return (alive or payments)[-1]

    def enter(self, order: Json, entity: str, thing: Json, state: str) -> None:
        """Set a state as a transition does, without asking whether there is one."""
        machine = MACHINES[entity]
        before = thing["stateMachineState"]
        after = self.states[machine, state]
        thing |= {"stateMachineState": after, "stateId": after["id"], "updatedAt": self._stamp()}
        self.history.append(
            row(
                "state_machine_history",
                self.now(),
                stateMachine=self.machine_rows[machine],
                entityName=entity,
                referencedId=thing["id"],
                referencedVersionId=thing.get("versionId", LIVE),
                fromStateMachineState=before,
                toStateMachineState=after,
                userId=None,
                integrationId=None,
            )
        )
        if thing.get("versionId", LIVE) != LIVE:
            return
        if entity == "order":
            self.events.append(entity_event("order.written", order["id"], "update"))
        self.events.append(order_event(f"state_leave.{machine}.{before['technicalName']}", order))
        self.events.append(order_event(f"state_enter.{machine}.{state}", order))

    def find(self, entity: str, identifier: str, version: str | None) -> tuple[Json, Json]:
        """The order and the thing in it (the order itself, a payment, a delivery) behind an id."""
        if not re.fullmatch("[0-9a-fA-F]{32}", identifier):
            text = f"Value is not a valid UUID: {identifier}"
            raise Problem(400, "FRAMEWORK__INVALID_UUID", text, {"input": identifier})
        within = {"order_transaction": "transactions", "order_delivery": "deliveries"}
        if entity not in MACHINES:
            text = f'Definition for entity "{entity}" does not exist.'
            raise Problem(500, "FRAMEWORK__DEFINITION_NOT_FOUND", text, {"entityName": entity})
        for order in self.rows("order", version):
            for thing in order[within[entity]] if entity in within else [order]:
                if thing["id"] == identifier:
                    return order, thing
        text = f'Unable to read entity "{entity}" with id "{identifier}".'
        named = {"entityName": entity, "entityId": identifier}
        raise Problem(400, "SYSTEM__STATE_MACHINE_INVALID_ENTITY_ID", text, named)

    def transition(
        self, entity: str, identifier: str, action: str, *, mails: bool, version: str | None
    ) -> Json:
        """Carry out an action; the state that is entered, or kept. Raises Problem."""
        with self.lock:
            order, thing = self.find(entity, identifier, version)
            here: Json = thing["stateMachineState"]
            try:
                target = self.machines[MACHINES[entity]].after(here["technicalName"], action)
            except Illegal as error:
                raise _illegal(error, here["id"]) from None
            if target is None:
                return here
            self.enter(order, entity, thing, target)
            if mails:
                self.mails.append(Mail(order["id"], target))
            return self.states[MACHINES[entity], target]

    def possible(self, entity: str, identifier: str) -> list[Json]:
        """What GET .../state lists: where one can go from here."""
        _, thing = self.find(entity, identifier, None)
        machine = MACHINES[entity]
        here = thing["stateMachineState"]["technicalName"]
        return [
            {
                "name": self.states[machine, target]["name"],
                "technicalName": target,
                "actionName": action,
                "fromStateName": here,
                "toStateName": target,
                "url": f"/api/_action/state-machine/{entity}/{identifier}/state/{action}",
            }
            for action, target in self.machines[machine].possible(here)
        ]

    def add_document(self, order: Json, kind: str, name: str, content: bytes) -> Json:
        """A document; making it writes a draft of the order, which is told as if it were one."""
        with self.lock:
            made = rows.document(
                self.document_types[kind], name, self.now(), own_column=self.is_at_least(6, 5, 7)
            )
            order["documents"].append(made)
            self.files[made["id"]] = content
            version = made["orderVersionId"]
            self.events.append(entity_event("order.written", order["id"], "insert", version))
            return made

    def open_draft(self, order_id: str) -> str:
        """Somebody begins to edit an order in the administration; returns the draft's version."""
        with self.lock:
            version = new_id()
            draft = copy.deepcopy(self.orders[order_id])
            for thing in (draft, *draft["transactions"], *draft["deliveries"]):
                thing["versionId"] = version
            self.drafts[version] = {order_id: draft}
            self.events.append(entity_event("order.written", order_id, "insert", version))
            return version

    def touch(self, order: Json) -> None:
        """Somebody saves the order."""
        order["updatedAt"] = self._stamp()
        self.events.append(entity_event("order.written", order["id"], "update"))

    def _stamp(self) -> str:
        return stamp(self.now())

    def _arrows(self) -> Iterator[Json]:
        for name, machine in self.machines.items():
            for source, arrows in machine.arrows.items():
                for action, target in sorted(arrows.items()):
                    yield row(
                        "state_machine_transition",
                        self.now(),
                        actionName=action,
                        stateMachine=self.machine_rows[name],
                        fromStateMachineState=self.states[name, source],
                        toStateMachineState=self.states[name, target],
                    )

    def _tables(self) -> Mapping[str, list[Json]]:
        return {
            "payment_method": list(self.methods.values()),
            "state_machine": list(self.machine_rows.values()),
            "state_machine_state": list(self.states.values()),
            "state_machine_history": self.history,
            "currency": list(self.currencies.values()),
            "country": list(self.countries.values()),
            "language": list(self.languages.values()),
            "locale": list(self.locales.values()),
            "sales_channel": list(self.channels.values()),
            "document_type": list(self.document_types.values()),
            "shipping_method": self.shipping_methods,
        }


def _customer(wanted: Mapping[str, Any], billing: Json, now: datetime) -> Json:
    given = wanted["billing"]
    return row(
        "order_customer",
        now,
        versionId=LIVE,
        email=given.get("email"),
        firstName=billing["firstName"],
        lastName=billing["lastName"],
        company=billing["company"],
        customerNumber=str(wanted.get("customer_number", "20001")),
        vatIds=wanted.get("vat_ids"),
        customerId=new_id(),
    )


def _illegal(error: Illegal, state_id: str) -> Problem:
    listed = ", ".join(error.possible)
    text = (
        f'Illegal transition "{error.action}" from state "{state_id}". '
        f"Possible transitions are: {listed}"
    )
    named = {
        "transition": error.action,
        "currentState": state_id,
        "possibleTransitionsString": listed,
        "possibleTransitions": error.possible,
    }
    return Problem(400, "SYSTEM__ILLEGAL_STATE_TRANSITION", text, named)
