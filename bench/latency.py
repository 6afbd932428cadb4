"""From a statement's upload to the shop's status, beside other work.

One upload of 20 entries every 2 s, 5 order pushes a second, and one file of 50,000 entries of
another merchant being imported. An agent thread fetches payment updates as a shop would.
"""

from __future__ import annotations

import statistics
import threading
import time
import urllib.request
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from bench.house import House, Tenant, order
from plugin_sdk.client import Client
from plugin_sdk.schemas import OrderSchema
from plugin_sdk.types import Acknowledgement, Outcome

SECONDS = 40
UPLOAD_EVERY = 2.0
ENTRIES = 20
PUSHES_A_SECOND = 5
BIG_FILE = 50_000


def run(place: House) -> dict[str, object]:
    shop, other = place.tenants
    client = Client(place.url, shop.shop_key)
    stop = threading.Event()
    seen: dict[str, float] = {}
    agent = threading.Thread(target=_agent, args=(place, shop, seen, stop))
    agent.start()
    _upload(place.url, other, camt(other, ((f"GRUSS {n}", "9.99") for n in range(BIG_FILE)), "big"))
    pusher = threading.Thread(target=_push, args=(place, shop, stop))
    pusher.start()
    sent: dict[str, float] = {}
    began = time.monotonic()
    rounds = int(SECONDS / UPLOAD_EVERY)
    big_done = None
    for number in range(rounds):
        ids = [f"L{number}-{n}" for n in range(ENTRIES)]
        loaded = [OrderSchema().load(order(i, f"LAT{number:03}{n:03}7")) for n, i in enumerate(ids)]
        client.push_orders(loaded)
        _sleep_until(began + number * UPLOAD_EVERY)
        texts = [(f"Bestellung LAT{number:03}{n:03}7", "39.90") for n in range(ENTRIES)]
        at = time.monotonic()
        _upload(place.url, shop, camt(shop, texts, f"r{number}"))
        sent |= dict.fromkeys(ids, at)
        if big_done is None and _big_is_done(place, other):
            big_done = time.monotonic() - began
    time.sleep(3)
    stop.set()
    agent.join()
    pusher.join()
    took = sorted(seen[i] - sent[i] for i in sent if i in seen)
    return {
        "upload to shop status, median s": round(statistics.median(took), 3),
        "p95 s": round(took[int(len(took) * 0.95)], 3),
        "longest s": round(took[-1], 3),
        "arrived of expected": f"{len(took)} of {len(sent)}",
        f"the {BIG_FILE} entries beside it were read after s": round(big_done or -1, 1),
    }


def camt(tenant: Tenant, entries: Iterable[tuple[str, str]], name: str) -> bytes:
    """A camt.053.001.08 with one credit per (text, amount)."""
    day = datetime.now(UTC).date().isoformat()
    head = (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>'
        f"<GrpHdr><MsgId>{name}</MsgId><CreDtTm>{day}T20:00:00Z</CreDtTm></GrpHdr><Stmt>"
        f"<Id>{name}</Id><Acct><Id><IBAN>{tenant.iban}</IBAN></Id><Ccy>EUR</Ccy></Acct>"
    )
    parts = [
        f'<Ntry><Amt Ccy="EUR">{Decimal(amount)}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK'
        f"</Cd></Sts><BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>"
        f"<AcctSvcrRef>{name}X{n:09}Q7</AcctSvcrRef><NtryDtls><TxDtls><RltdPties><Dbtr><Pty>"
        "<Nm>Erika Mustermann</Nm></Pty></Dbtr></RltdPties>"
        f"<RmtInf><Ustrd>{text}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>"
        for n, (text, amount) in enumerate(entries)
    ]
    return "".join([head, *parts, "</Stmt></BkToCstmrStmt></Document>"]).encode()


def _upload(url: str, tenant: Tenant, content: bytes) -> None:
    headers = {
        "Authorization": f"Bearer {tenant.bank_key}",
        "Content-Type": "application/octet-stream",
    }
    request = urllib.request.Request(f"{url}/api/v1/statements", content, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 202


def _big_is_done(place: House, tenant: Tenant) -> bool:
    headers = {"Authorization": f"Bearer {tenant.bank_key}"}
    request = urllib.request.Request(f"{place.url}/api/v1/statements/1", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return b'"state":"done"' in answer.read().replace(b" ", b"")


def _agent(place: House, shop: Tenant, seen: dict[str, float], stop: threading.Event) -> None:
    client = Client(place.url, shop.shop_key)
    while not stop.is_set():
        found = client.payment_updates(wait_seconds=2, limit=20)
        for update in found.updates:
            seen.setdefault(update.external_id, time.monotonic())
            client.acknowledge(update.id, Acknowledgement(Outcome.APPLIED))


def _push(place: House, shop: Tenant, stop: threading.Event) -> None:
    client = Client(place.url, shop.shop_key)
    number = 0
    while not stop.wait(1 / PUSHES_A_SECOND):
        number += 1
        made = OrderSchema().load(order(f"P{number}", f"PUSH{number:05}"))
        client.push_orders([made])


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
