"""A bank file into Postgres: new, and once more; beside reading it alone.

One process, one database of its own, slices committed as the worker does, without its rests.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from pathlib import Path

from bench.statements import write_camt
from server.banking.formats import ParsedPosting, parse
from server.banking.intake import StatementImport
from server.banking.models import Posting
from server.banking.service import store_statement
from server.db import db
from server.merchants.models import Merchant

ENTRIES = 40_000


def run() -> dict[str, object]:
    from server import migrations
    from server.embedded import Embedded

    home = Path(tempfile.mkdtemp(prefix="kontor-bench-", dir="/tmp"))
    home.chmod(0o755)
    services = Embedded(home, lambda _: None)
    services.start(redis=False)
    try:
        migrations.upgrade(services.database_url)
        return _measure(services.database_url, home)
    finally:
        services.stop()
        shutil.rmtree(home, ignore_errors=True)


def _measure(database_url: str, home: Path) -> dict[str, object]:
    from server.app import create_app
    from server.config import Settings

    path = home / "camt.xml"
    write_camt(path, ENTRIES)
    content = path.read_bytes()
    settings = Settings(database_url, "redis://127.0.0.1:1", "x" * 32, ("A" * 43 + "=",))
    app = create_app(settings)
    with app.app_context():
        merchant = Merchant(name="Bench")
        db.session.add(merchant)
        db.session.commit()
        began = time.perf_counter()
        with path.open("rb") as source:
            count = sum(isinstance(one, ParsedPosting) for one in parse(source, "f"))
        reading = time.perf_counter() - began
        first = _import(merchant.id, content)
        second = _import(merchant.id, content)
        other = _import(merchant.id, _as_notification(content))
        stored = db.session.query(Posting).count()
        db.session.remove()
        db.engine.dispose()
    assert stored == count, (stored, count)
    return {
        f"camt.053 with {count} postings, read alone, postings/s": round(count / reading),
        "into Postgres with all comparisons, postings/s": round(count / first),
        "the same file again (adds nothing), postings/s": round(count / second),
        "the same money in a camt.054 without references, postings/s": round(count / other),
        "times as long as reading alone": round(first / reading, 1),
        "again: times as long as reading alone": round(second / reading, 1),
    }


def _as_notification(content: bytes) -> bytes:
    """The same payments as another kind of message tells them: known by likeness only."""
    for old, new in ((b"BkToCstmrStmt", b"BkToCstmrDbtCdtNtfctn"), (b"Stmt>", b"Ntfctn>")):
        content = content.replace(old, new)
    return re.sub(rb"<AcctSvcrRef>[^<]*</AcctSvcrRef>", b"", content)


def _import(merchant_id: int, content: bytes) -> float:
    statement = store_statement(merchant_id, "bench.xml", content, uploaded_by="bench")
    db.session.commit()
    began = time.perf_counter()
    importing = StatementImport(statement)
    while importing.step():
        db.session.commit()
    db.session.commit()
    return time.perf_counter() - began
