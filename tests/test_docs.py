"""The documentation says what the house has: settings, commands, kinds, routes, files, outputs."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import posixpath
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

from plugin_sdk import cli as kontor
from plugin_sdk import connector as sdk
from plugin_sdk import errors, types
from plugin_sdk.types import Outcome, PaymentCode, PaymentStatus
from server import cli
from server.config import Settings
from server.merchants.settings import SCHEMA, as_typed

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
PAGES = [
    *(
        ROOT / name
        for name in "README.md STYLE.md CONTRIBUTING.md CHANGELOG.md SECURITY.md".split()
    ),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "connectors").glob("*/README.md")),
]
NOT_OURS = re.compile(r"\.venv|var|site|dist|build|bench\.json|.*\.egg-info|__pycache__|\..*")


def text_of(name: str) -> str:
    return (DOCS / name).read_text()


def first_cells(page: str) -> set[str]:
    """What stands in backticks in the first column of the page's tables."""
    rows = re.findall(r"^\|([^|]*)\|", text_of(page), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


# --- settings -------------------------------------------------------------------------------------


def variables(source: str) -> set[str]:
    """Names of environment variables that a module mentions as texts."""
    found = {
        node.value
        for node in ast.walk(ast.parse((ROOT / source).read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {name for name in found if re.fullmatch(r"KONTOR_[A-Z_]+|[A-Z]+_URL", name)}


def test_every_field_of_the_settings_is_documented():
    documented = first_cells("configuration.md")
    for field in dataclasses.fields(Settings):
        names = {field.name.upper(), f"KONTOR_{field.name.upper()}"}
        assert names & documented, f"{field.name} is not in docs/configuration.md"


@pytest.mark.parametrize(
    "source", ["server/config.py", "server/supervisor.py", "plugin_sdk/cli.py"]
)
def test_every_variable_is_documented(source):
    named = set(re.findall(r"[A-Z]+_[A-Z_]+", text_of("configuration.md")))
    assert variables(source) - named == set()


def test_the_classes_of_the_connectors_page_work():
    config, connector = re.findall(
        r"```python\n((?:@dataclass|class MyShop).*?)```", text_of("connectors.md"), re.DOTALL
    )
    names: dict[str, object] = {"dataclass": dataclasses.dataclass, **vars(types), **vars(sdk)}
    exec(config + connector, names)
    made = sdk.config_from(names["MyShopConfig"], {"shop_url": "https://a.example", "token": "xyz"})
    assert "xyz" not in repr(made)
    assert names["MyShop"].__abstractmethods__ == sdk.Connector.__abstractmethods__


def test_every_method_that_a_connector_must_have_is_documented():
    told = {cell.partition("(")[0] for cell in first_cells("connectors.md")}
    assert sdk.Connector.__abstractmethods__ <= told


# --- commands, kinds, words -----------------------------------------------------------------------


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (choices,) = (
        action.choices
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(choices)


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {
        option
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }


def test_every_command_of_the_server_is_documented():
    documented = first_cells("configuration.md")
    assert {*commands_of(cli._parser()), *cli._OWN_PARSERS} - documented == set()


def test_every_option_of_the_servers_commands_is_documented():
    page = text_of("configuration.md")
    for name, parser in commands_of(cli._parser()).items():
        for option in options_of(parser):
            assert option in page, f"{name} {option}"


def test_every_command_of_the_sdk_is_documented():
    documented = first_cells("connectors.md")
    assert {f"kontor {name}" for name in commands_of(kontor._parser())} - documented == set()


def test_every_worker_is_documented():
    page = text_of("configuration.md")
    assert all(f"`worker {kind}`" in page for kind in cli.WORKERS)


def test_every_kind_of_work_and_mail_is_documented():
    from server.jobs import DRAINS, KINDS, QUEUES
    from server.mail.rules import KINDS as MAIL_KINDS

    documented = first_cells("configuration.md")
    assert set(KINDS) | set(DRAINS) | set(MAIL_KINDS) <= documented
    assert {QUEUES.get(kind, kind) for kind in KINDS} == set(cli.WORKERS)


def test_every_error_is_documented():
    found = {
        name
        for name, one in vars(errors).items()
        if inspect.isclass(one) and issubclass(one, errors.ConnectorError)
    }
    page = text_of("connectors.md")
    assert [name for name in sorted(found) if f"`{name}`" not in page] == []


def test_every_outcome_status_and_code_is_documented():
    assert {outcome.value for outcome in Outcome} <= first_cells("api.md")
    words = set(re.findall(r"`(\w+)`", text_of("words.md")))
    assert {each.value for each in (*PaymentStatus, *PaymentCode)} <= words


def test_every_connector_is_documented():
    names = {entry.name for entry in entry_points(group="kontor.connectors")}
    assert names and names <= first_cells("connectors.md")


def test_every_connectors_own_page_names_what_it_can_do_and_is_told():
    for entry in entry_points(group="kontor.connectors"):
        one = entry.load()
        page = (ROOT / "connectors" / entry.name / "README.md").read_text()
        shown = [one for one in dataclasses.fields(one.Config) if not one.metadata["hidden"]]
        settings = [f"KONTOR_{field.name.upper()}" for field in shown]
        missing = [name for name in (*one.capabilities, *settings) if f"`{name}`" not in page]
        assert missing == [], entry.name


def test_every_setting_of_a_merchant_is_documented_with_its_default():
    row = re.compile(r"^\| `([a-z_0-9.]+)` \| `([^`]*)` \|", re.MULTILINE)
    rows = dict(row.findall(text_of("configuration.md")))
    for name, one in SCHEMA.items():
        assert rows.get(name) == (as_typed(one.default) or "none"), name


def test_every_room_and_door_says_what_it_is_for():
    folders = [path for path in (ROOT / "server").iterdir() if (path / "__init__.py").exists()]
    for folder in folders:
        docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert docstring, f"server/{folder.name} has no docstring"
        if folder.name != "migrations":
            assert f"`server.{folder.name}`" in text_of("tour.md")


# --- the API --------------------------------------------------------------------------------------


def routes_of(app) -> set[tuple[str, str, str]]:
    """(method, path, scope) of everything below /api/v1 but its own description."""
    found = set()
    for rule in app.url_map.iter_rules():
        scope = getattr(app.view_functions[rule.endpoint], "api_scope", None)
        if str(rule).startswith("/api/v1") and scope is not None:
            found |= {(m, str(rule), scope) for m in rule.methods - {"HEAD", "OPTIONS"}}
    return found


def test_the_routes_are_those_of_the_app(house):
    rows = re.findall(r"^\| ([A-Z]+) \| `(/api[^`]+)` \| (\w+) \|", text_of("api.md"), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == routes_of(house)


def test_the_limits_are_those_of_the_code():
    from plugin_sdk import schemas
    from server.api import MAX_BODY_BYTES, idempotency, orders, postings, updates, wire
    from server.banking.service import MAX_STATEMENT_BYTES
    from server.orders.service import MAX_INVOICE_BYTES, MAX_INVOICES
    from server.shops.models import UPDATE_LIFETIME
    from server.work import LEASE

    page = text_of("api.md")
    told = dict(re.findall(r"^\| ([^|`]+) \| (\d[^|]*) \|$", page, re.MULTILINE))
    mega = 1024 * 1024
    pages = {
        schema().fields["limit"].validate.max
        for schema in (orders.OrdersArguments, postings.PostingsArguments, updates.PollArguments)
    }
    assert told == {
        "JSON body": f"{wire.MAX_JSON_BYTES // mega} MB",
        "orders in a batch": str(schemas.BATCH_LIMIT),
        "items of an order": str(schemas.MAX_ITEMS),
        "references, tracking numbers of an order": f"{schemas.MAX_REFERENCES} each",
        "invoices of an order": str(MAX_INVOICES),
        "invoice PDF": f"{MAX_INVOICE_BYTES // mega} MB",
        "statement": f"{MAX_STATEMENT_BYTES // mega} MB",
        "postings in a request": str(postings.MAX_POSTINGS),
        "orders, postings or updates in a page": " ".join(str(one) for one in pages),
        "waiting for payment updates": (
            f"{updates.PollArguments().fields['wait_seconds'].validate.max} seconds"
        ),
    }
    assert f"leased for {LEASE.total_seconds():.0f} seconds" in page
    assert f"until {UPDATE_LIFETIME.total_seconds() / 3600:.0f} hours" in page
    assert f"kept for {idempotency.KEPT.total_seconds() / 3600:.0f} hours" in page
    assert f"bodies of {MAX_BODY_BYTES // mega} MB" in text_of("operations.md")


def test_the_fields_of_an_order_are_those_of_the_wire():
    from plugin_sdk.schemas import OrderSchema

    section = text_of("api.md").partition("## An order")[2].partition("The outcome of a push")[0]
    rows = re.findall(r"^\|([^|]*)\|([^|]*)\|", section, re.MULTILINE)
    told = {name: meaning for cell, meaning in rows for name in re.findall(r"`(\w+)`", cell)}
    schema = OrderSchema().fields
    assert set(told) == set(schema)
    required = {name for name, meaning in told.items() if meaning.strip().startswith("required")}
    assert required == {name for name, field in schema.items() if field.required}


def test_the_outcomes_of_a_push_are_those_of_the_wire():
    from plugin_sdk.schemas import OrderResultSchema

    section = text_of("api.md").partition("The outcome of a push")[2].partition("\n\n`GET")[0]
    told = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert told == list(OrderResultSchema().fields["outcome"].validate.choices)


# --- the map and the links ------------------------------------------------------------------------


def tree() -> dict[str, list[str]]:
    """The README's map: folder ("" is the top) to its entries."""
    section = README.partition("## The map of the house")[2]
    lines = re.findall(r"```text\n(.*?)```", section, re.DOTALL)[0].splitlines()
    found: dict[str, list[str]] = {"": [], "server/": []}
    for line in lines:
        name = line.split()[0]
        found["server/" if line.startswith(" ") else ""].append(name)
    return found


def on_disk(folder: Path) -> set[str]:
    names = set()
    for path in folder.iterdir():
        if path.is_dir() and not any(one.is_file() for one in path.rglob("*")):
            continue  # git does not know empty folders
        if path.name == ".ci" or not NOT_OURS.fullmatch(path.name):
            names.add(path.name + ("/" if path.is_dir() else ""))
    return names


@pytest.mark.parametrize("folder", ["", "server/"])
def test_the_map_of_the_house_is_the_disk(folder):
    entries = tree()[folder]
    assert len(entries) == len(set(entries))
    assert set(entries) == on_disk(ROOT / folder)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in headings(found), f"{page.name}: {target}"


def headings(page: Path) -> set[str]:
    """The anchors of a page, as its headings make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


def test_the_built_pages_load_nothing_from_elsewhere(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    loads = re.compile(r"""(?:src=|<link[^>]*href=|url\(|@import\s*)["']?(?:https?:)?//[^"')\s]+""")
    for path in (*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")):
        assert loads.findall(path.read_text()) == [], path.name
    links = re.findall(r'href="(\.\.?/[^"#]*)', (tmp_path / "tour.html").read_text())
    for link in links:
        assert (tmp_path / posixpath.normpath(link)).exists(), link


# --- the trial ------------------------------------------------------------------------------------


def trials() -> list[tuple[str, str]]:
    """(command, what it prints) of the README's console blocks, in their order."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            found.append((command, printed))
    return found


def test_the_trial_prints_what_the_readme_shows(tmp_path):
    for name in ("docs", "server", "plugin_sdk", "connectors"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert len(trials()) == 3
    for command, printed in trials():
        done = subprocess.run(
            command.replace(".venv/bin/python", sys.executable),
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout == printed, command


# --- containers -----------------------------------------------------------------------------------


COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: one for name, one in COMPOSE["services"].items() if one["image"] == "kontor"}


def test_the_commands_of_compose_exist():
    for name, service in OURS.items():
        assert service["command"][:3] == ["python", "-m", "server"], name
        known = cli._parser().parse_args(service["command"][3:])
        assert known.command.__module__ == "server.cli"


def test_compose_starts_every_process():
    started = {" ".join(service["command"][3:]) for service in OURS.values()}
    assert started == {
        "migrate",
        "web",
        "clock",
        "relay",
        *(f"worker {kind}" for kind in cli.WORKERS),
    }


def test_the_variables_of_compose_are_documented():
    named = set(re.findall(r"[A-Z]+_[A-Z_]+", text_of("configuration.md")))
    used = {name for service in OURS.values() for name in service["environment"]}
    asked = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    assert used | asked <= named


def test_the_variables_of_compose_are_enough_to_start():
    for service in OURS.values():
        given = {
            name: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: GIVEN.get(found[1], "x"), str(value))
            for name, value in service["environment"].items()
        }
        assert Settings.from_env(given).database_url.startswith("postgresql+psycopg://")


GIVEN = {
    "SMTP_URL": "smtp://mail.example.org",
    "KONTOR_URL": "https://kontor.example.org",
    "KONTOR_SECRET_KEY": "x" * 32,
    "KONTOR_ENCRYPTION_KEYS": "A" * 43 + "=",
    "KONTOR_LOG": "INFO",
}


def test_the_image_is_made_of_what_is_there():
    recipe = (ROOT / "Dockerfile").read_text()
    for sources in re.findall(r"^COPY (.+) \S+$", recipe, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
    users = re.findall(r"^USER (\w+)$", recipe, re.MULTILINE)
    assert users and "root" not in users
