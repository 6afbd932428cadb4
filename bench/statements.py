"""Reading bank files: camt.053 against bare XML parsing, MT940 against the library mt-940.

The files are made here, in a temporary folder. Each figure is the best of three runs, which take
turns, in seconds of this process alone, so that other work on the machine counts little. The
memory is that of a process of its own, which has read a small file before.
"""

from __future__ import annotations

import io
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mt940
from lxml import etree

from server.banking.formats import ParsedPosting, parse

CAMT_ENTRIES = 200_000
BATCH_EVERY = 10
PAYMENTS_IN_A_BATCH = 4
MT940_LINES = 20_000
LINES_A_STATEMENT = 500
RUNS = 3

FIRST_NAMES = ("Erika", "Max", "Jörg", "Anna", "Otto", "Lieselotte", "Bärbel")
LAST_NAMES = ("Mustermann", "Muster", "Beispiel", "Schön", "Musterfrau-Beispiel")
OWN_IBAN = "DE02120300000000202051"
OTHER_IBANS = ("DE75512108001245126199", "DE89370400440532013000", "NL91ABNA0417164300")


def run() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        return _camt(Path(folder) / "camt.xml") | _mt940(Path(folder) / "statement.sta")


def _camt(path: Path) -> dict[str, object]:
    smallest = write_camt(path)
    bare, ours = _best(lambda: _drop_entries(path), lambda: _count(path))
    return {
        f"camt.053: {CAMT_ENTRIES} entries of at least {smallest} bytes, MB": round(
            path.stat().st_size / 1e6
        ),
        "iterparse alone, s": round(bare, 2),
        "our reader, s": round(ours, 2),
        "ratio": round(ours / bare, 2),
        "entries a second": round(CAMT_ENTRIES / ours),
        "peak memory growth, MB": round(_growth_mb(path), 1),
    }


def _mt940(path: Path) -> dict[str, object]:
    write_mt940(path)
    theirs, ours = _best(lambda: _count_theirs(path), lambda: _count(path))
    return {
        f"MT940: {MT940_LINES} lines, MB": round(path.stat().st_size / 1e6, 1),
        "the library mt-940, s": round(theirs, 2),
        "our reader, s (MT940)": round(ours, 2),
        "times as fast": round(theirs / ours, 1),
        "lines a second": round(MT940_LINES / ours),
    }


def _best(*works: Callable[[], object]) -> list[float]:
    took: list[list[float]] = [[] for _ in works]
    for _ in range(RUNS):
        for work, seconds in zip(works, took, strict=True):
            began = time.process_time()
            work()
            seconds.append(time.process_time() - began)
    return [min(seconds) for seconds in took]


def _drop_entries(path: Path) -> None:
    """What any reader of the file has to pay: parsing, and forgetting what was read."""
    with path.open("rb") as source:
        for _, element in etree.iterparse(source, tag="{*}Ntry"):
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]


def _count(path: Path) -> int:
    with path.open("rb") as source:
        return sum(isinstance(item, ParsedPosting) for item in parse(source, path.name))


def _count_theirs(path: Path) -> int:
    return len(mt940.parse(str(path), encoding="utf-8").transactions)


def _growth_mb(path: Path) -> float:
    """How much a process grows from reading the file, after it has read a small one."""
    command = [sys.executable, "-m", "bench.statements", str(path)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return float(answer.stdout) / 1024


def _measure_growth(path: Path) -> None:
    small = io.BytesIO(CAMT_HEAD.encode() + _entry(1).encode() + CAMT_TAIL.encode())
    assert list(parse(small, "small"))
    before = _peak_kb()
    _count(path)
    print(_peak_kb() - before)


def _peak_kb() -> int:
    """The most memory this process ever had. Linux counts its parent's into ``ru_maxrss``."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [one for one in status.read_text().splitlines() if one.startswith("VmHWM:")]
        return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


CAMT_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>'
    "<GrpHdr><MsgId>BENCH</MsgId><CreDtTm>2025-11-18T20:00:00Z</CreDtTm></GrpHdr><Stmt>"
    "<Id>1</Id><ElctrncSeqNb>1</ElctrncSeqNb>"
    f"<Acct><Id><IBAN>{OWN_IBAN}</IBAN></Id><Ccy>EUR</Ccy></Acct>"
    '<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">0.00</Amt>'
    "<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2025-11-18</Dt></Dt></Bal>\n"
)
CAMT_TAIL = "</Stmt></BkToCstmrStmt></Document>\n"


def write_camt(path: Path, entries: int = CAMT_ENTRIES) -> int:
    """A camt.053.001.08; how many bytes its smallest entry has."""
    smallest = sys.maxsize
    with path.open("w", encoding="utf-8") as target:
        target.write(CAMT_HEAD)
        for number in range(entries):
            entry = _entry(number)
            smallest = min(smallest, len(entry.encode()))
            target.write(entry)
        target.write(CAMT_TAIL)
    return smallest


def _entry(number: int) -> str:
    payments = PAYMENTS_IN_A_BATCH if number % BATCH_EVERY == 0 else 1
    cents = 1_000 + number * 37 % 90_000
    day = f"2025-11-{number % 28 + 1:02}"
    batch = f"<Btch><NbOfTxs>{payments}</NbOfTxs></Btch>" if payments > 1 else ""
    leaves = "".join(_payment(number * 10 + leaf, cents) for leaf in range(payments))
    return (
        f'<Ntry><NtryRef>{number}</NtryRef><Amt Ccy="EUR">{_euros(cents * payments)}</Amt>'
        "<CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>"
        f"<AcctSvcrRef>2025{number:012}</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd><Fmly>"
        "<Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn><Prtry><Cd>NTRF+166+00931</Cd>"
        f"<Issr>DK</Issr></Prtry></BkTxCd><NtryDtls>{batch}{leaves}</NtryDtls></Ntry>\n"
    )


def _payment(number: int, cents: int) -> str:
    return (
        f"<TxDtls><Refs><EndToEndId>SHOP-{number:08}</EndToEndId></Refs>"
        f'<Amt Ccy="EUR">{_euros(cents)}</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
        f"<RltdPties><Dbtr><Pty><Nm>{_name(number)}</Nm></Pty></Dbtr>"
        f"<DbtrAcct><Id><IBAN>{_iban(number)}</IBAN></Id></DbtrAcct></RltdPties>"
        "<RltdAgts><DbtrAgt><FinInstnId><BICFI>SOGEDEFFXXX</BICFI></FinInstnId></DbtrAgt>"
        f"</RltdAgts><RmtInf><Ustrd>Bestellung A-{number:07} vielen Dank für alles</Ustrd>"
        "</RmtInf></TxDtls>"
    )


def write_mt940(path: Path) -> None:
    """German statements with structured fields 86, cut in subfields of 27 characters."""
    with path.open("w", encoding="utf-8", newline="") as target:
        for first in range(0, MT940_LINES, LINES_A_STATEMENT):
            target.write(
                ":20:STARTUMS\r\n:25:12030000/0000202051\r\n"
                f":28C:{first // LINES_A_STATEMENT + 1:05}/001\r\n:60F:C251117EUR1000,00\r\n"
            )
            for number in range(first, first + LINES_A_STATEMENT):
                target.write(_line(number))
            target.write(":62F:C251118EUR1000,00\r\n-\r\n")


def _line(number: int) -> str:
    amount = _euros(1_000 + number * 37 % 90_000).replace(".", ",")
    text = f"EREF+SHOP-{number:08} SVWZ+Bestellung A-{number:07} vielen Dank für alles"
    purpose = "".join(
        f"?{20 + index}{text[at : at + 27]}" for index, at in enumerate(range(0, len(text), 27))
    )
    details = f"166?00GUTSCHRIFT?109310{purpose}?30SOGEDEFFXXX?31{_iban(number)}?32{_name(number)}"
    wrapped = "\r\n".join(details[at : at + 65] for at in range(0, len(details), 65))
    return f":61:2511181118CR{amount}N166NONREF//2025{number:012}\r\n:86:{wrapped}\r\n"


def _euros(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _name(number: int) -> str:
    return f"{FIRST_NAMES[number % 7]} {LAST_NAMES[number % 5]} {number % 97}"


def _iban(number: int) -> str:
    return OTHER_IBANS[number % 3]


if __name__ == "__main__":
    _measure_growth(Path(sys.argv[1]))
