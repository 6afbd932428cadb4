"""Every statement of the fixtures gives exactly the postings written beside it.

After a wanted change: `python -m tests.unit.banking_formats.test_golden_statements` writes the
expected files anew; read the difference before committing it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.banking.formats import ParsedPosting, Problem, StatementFacts, parse, printed, to_wire

FIXTURES = Path(__file__).parents[2] / "fixtures" / "statements"
WITH_UNPRINTED = {".csv", ".ofx", ".qif"}
STATEMENTS = sorted(path for path in FIXTURES.iterdir() if path.suffix != ".json")


def reading(path: Path) -> dict[str, list[object]]:
    postings: list[object] = []
    unprinted: list[object] = []
    problems: list[object] = []
    statements: list[object] = []
    with path.open("rb") as source:
        for item in parse(source, path.name):
            if isinstance(item, ParsedPosting):
                postings.append(to_wire(item, path.name))
                unprinted.append(beside(item))
            elif isinstance(item, Problem):
                problems.append(f"{item.where}: {item.what}")
            else:
                statements.append(facts(item))
    read = {"postings": postings, "problems": problems, "statements": statements}
    return read | {"unprinted": unprinted} if path.suffix in WITH_UNPRINTED else read


def beside(item: ParsedPosting) -> dict[str, object]:
    """What a posting knows and `parse` does not print, as far as it is said."""
    entry, foreign = item.entry, item.foreign
    said: dict[str, object] = {
        "account": item.account,
        "leaf_index": item.leaf_index,
        "entry": entry and [printed(entry.amount), *entry.references, entry.size],
        "foreign": foreign and f"{printed(foreign.amount)} {foreign.currency}",
        "exchange_rate": foreign and foreign.exchange_rate and str(foreign.exchange_rate),
        "charges": item.charges and printed(item.charges),
        "source": item.source,
        "where": item.where,
    }
    return {key: value for key, value in said.items() if value}


def facts(item: StatementFacts) -> dict[str, str | None]:
    def balance(side: str) -> str | None:
        one = getattr(item, side)
        return f"{printed(one.amount)} {one.currency} {one.on}" if one else None

    return {
        "account_iban": item.account_iban,
        "account": item.account,
        "period": f"{item.from_date} to {item.to_date}",
        "opening": balance("opening"),
        "closing": balance("closing"),
    }


@pytest.mark.parametrize("path", STATEMENTS, ids=lambda path: path.name)
def test_statement_gives_what_is_written_beside_it(path: Path) -> None:
    expected = json.loads(path.with_name(f"{path.name}.expected.json").read_text("utf-8"))
    assert reading(path) == expected


if __name__ == "__main__":
    for one in STATEMENTS:
        text = json.dumps(reading(one), ensure_ascii=False, indent=1)
        one.with_name(f"{one.name}.expected.json").write_text(f"{text}\n", "utf-8")
