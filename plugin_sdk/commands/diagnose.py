"""`kontor diagnose`: a bundle for whoever is to help, without secrets and without customers.

What is let in is chosen, not what is kept out: settings that are neither secret nor look like a
key, findings, what the shop offers, how much waits, and of a log only lines that the agent writes.
What a shop says in its own words (it likes to quote a customer's name) is cut out everywhere.
"""

from __future__ import annotations

import json
import platform
import re
import sys
import zipfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from plugin_sdk.connector import Connector, Finding, secrets_of
from plugin_sdk.errors import ConnectorError
from plugin_sdk.types import WIRE_VERSION, Order

MAX_LOG_LINES = 500
MAX_LINE = 400
GONE = "•••"
PACKAGES = ("kontor-sdk", "requests", "urllib3", "marshmallow")
KEY_LIKE = re.compile(r"key|secret|token|passw|login|user|mail", re.IGNORECASE)
AGENT_LINE = re.compile(
    r"(listening|no webhooks|webhook|webhooks|payment of order|order|orders|payments|heartbeat"
    r"|compared|request|discover|stopped|kontor|auth|permission|clock|version|connection|settings)"
    r"[ :]"
)
JOURNAL = re.compile(r"^\S+ +\d+ [\d:.]+ \S+ [^ ]+\[\d+\]: |^\d{4}-\d\d-\d\dT\S+ (\S+ )?[^ ]*: ?")
QUOTE = re.compile(r"( answered \d{3}): .*")
REASON = re.compile(r"((?:payment of )?order \S+ [\w ]+): .*")
TRACE = re.compile(r'  File "[^"]*", line \d+, in \w+')
PERSONAL = (
    re.compile(r"[^\s@<>(),;:]+@[^\s@<>(),;:]+"),  # an e-mail address
    re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"),  # an IBAN
    re.compile(r"(?<![\w.:])\+?\d[\d /()-]{8,}\d\b"),  # a telephone
    re.compile(r"(?i)\bbearer +\S+|\b(?:ck|cs|kontor)_\w{6,}|(?<=[?&])[^\s=]+=[^\s&]+"),
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle is made of. ``log``: lines of the agent's log, oldest first."""

    connector: Connector[Any]
    api_key: str
    server_url: str
    state: Path
    log: Iterable[str] = ()


def write_bundle(bundle: Bundle, path: Path) -> list[Finding]:
    """Write the zip; returns the findings in it. Raises OSError when it cannot be written."""
    connector = bundle.connector
    findings = connector.check()
    customers = _customers(connector)
    scrub = Scrubber(
        [*secrets_of(connector.config), bundle.api_key, *(customers or ())],
        knows_customers=customers is not None,
    )
    contents: Mapping[str, Any] = {
        "about.json": _about(connector),
        "settings.json": {
            "url": scrub.text(bundle.server_url),
            "api_key": _is_set(bundle.api_key),
            **_settings(connector.config, scrub),
        },
        "findings.json": [
            {"topic": each.topic, "severity": each.severity.value, "text": scrub.text(each.text)}
            for each in findings
        ],
        "shop.json": _shop(connector, scrub),
        "state.json": _state(bundle.state),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        archive.writestr("log.txt", "".join(f"{line}\n" for line in scrub.log(bundle.log)))
    return findings


class Scrubber:
    """Cuts out secrets, known names, the words of others, and what looks personal.

    Without ``knows_customers`` the reasons of lines about orders are cut out as well.
    """

    def __init__(self, known: Sequence[str], *, knows_customers: bool = True) -> None:
        self._knows_customers = knows_customers
        self._known = sorted({each for each in known if len(each) > 2}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """One line without what is nobody's business."""
        text = QUOTE.sub(rf"\1: {GONE}", text)
        if not self._knows_customers:
            text = REASON.sub(rf"\1: {GONE}", text)
        for known in self._known:
            text = re.sub(rf"(?<!\w){re.escape(known)}(?!\w)", GONE, text)
        for pattern in PERSONAL:
            text = pattern.sub(GONE, text)
        return text[:MAX_LINE]

    def log(self, lines: Iterable[str]) -> list[str]:
        """The last lines, of those that the agent writes; of a traceback only the places."""
        kept: deque[str] = deque(maxlen=MAX_LOG_LINES)
        for line in lines:
            said = JOURNAL.sub("", line.rstrip("\n"))
            if AGENT_LINE.match(said) or TRACE.fullmatch(said):
                kept.append(self.text(said))
            elif said.strip():
                kept.append(f"({len(said)} characters left out)")
        return list(kept)


def _about(connector: Connector[Any]) -> dict[str, Any]:
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "connector": connector.name,
        "connector_version": connector.version,
        "capabilities": sorted(connector.capabilities),
        "wire_version": WIRE_VERSION,
        "packages": {name: _version(name) for name in PACKAGES},
        "python": sys.version.split()[0],
        "system": platform.platform(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _settings(config: Any, scrub: Scrubber) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if item.metadata.get("secret") or (isinstance(value, str) and KEY_LIKE.search(item.name)):
            shown[item.name] = _is_set(value)
        else:
            shown[item.name] = scrub.text(value) if isinstance(value, str) else value
    return shown


def _is_set(value: Any) -> str:
    return "is set" if value else "is not set"


def _customers(connector: Connector[Any]) -> list[str] | None:
    """Names and addresses of the first page of orders, to cut out wherever they appear.

    None: the shop cannot be asked.
    """
    try:
        orders = connector.list_orders(None).orders
    except ConnectorError:
        return None
    return [word for order in orders for word in _personal_words(order)]


def _personal_words(order: Order) -> list[str]:
    found = [order.customer.email, order.customer.number, order.customer.vat_id]
    for address in (order.billing_address, order.shipping_address):
        if address is not None:
            found += [getattr(address, item.name) for item in fields(address)]
    return [word for word in found if word]


def _shop(connector: Connector[Any], scrub: Scrubber) -> dict[str, Any]:
    try:
        found = connector.discover()
    except ConnectorError as error:
        return {"problem": scrub.text(str(error))}
    return {
        "version": found.version,
        "currency": found.currency,
        "payment_methods": [each.code for each in found.payment_methods],
        "statuses": [each.code for each in found.statuses],
    }


def _state(directory: Path) -> dict[str, Any]:
    """How much is remembered and how old it is; the agent may be running."""
    found: dict[str, Any] = {"is_there": directory.is_dir()}
    for name in ("place.json", "pushed.json", "outbox.jsonl"):
        try:
            about = (directory / name).stat()
        except OSError:
            continue
        changed = datetime.fromtimestamp(about.st_mtime, UTC).isoformat(timespec="seconds")
        found[name] = {"bytes": about.st_size, "changed_at": changed}
    return found
