"""The commands. Each imports what it needs when it is called: `parse` needs no web framework."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.config import Settings

Command = Callable[[argparse.Namespace], int]
WORKERS = (
    "mail",
    "statement",
    "match_request",
    "payment_update",
    "bank_connection",
    "dunning_run",
    "sending_domain",
    "shop_connection",
    "callback",
    "partner",
    "relay_delivery",
)
DEMO_SHOPS = ("shopware", "ebay")


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code."""
    if arguments and arguments[0] in _OWN_PARSERS:  # they start without anything else
        return _OWN_PARSERS[arguments[0]](list(arguments[1:]))
    known = _parser().parse_args(arguments)
    command: Command = known.command
    return command(known)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="Kontor: which bank posting pays which order, and who must know.",
        epilog="Also: parse, match (no database needed) and catcher; each has its own --help.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, what: str, command: Callable[[argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=what, description=what)
        sub.set_defaults(command=command)
        return sub

    run = add("run", "everything on one machine, until Ctrl-C", _run)
    run.add_argument("--no-demo", action="store_true", help="no demo merchant and shop")
    run.add_argument(
        "--shop",
        choices=DEMO_SHOPS,
        help="one more demo shop, of this system, that Kontor talks to itself",
    )
    demo = add("demo", "play the main story once on real processes and check it", _demo)
    demo.add_argument("--exit", action="store_true", required=True, help="stop when it is over")
    demo.add_argument("--json", action="store_true", help="print the summary as JSON")
    add("prepare-demo", "create the demo merchant and its keys (called by run)", _prepare_demo)
    add("web", "the web server", _web)
    add("clock", "ring for whatever is due, every two seconds", _clock)
    add("bounces", "receive the mails that come back", _bounces)
    add("relay", "take in mails of other systems by SMTP", _relay)
    worker = add("worker", "work off one kind of rows", _worker)
    worker.add_argument("kind", choices=WORKERS)
    add("migrate", "bring the database up to date", _migrate)
    merchant = add("merchant", "merchants", _merchant_add)
    merchant.add_argument("action", choices=["add"])
    merchant.add_argument("name")
    merchant.add_argument("email")
    merchant.add_argument(
        "--operator", action="store_true", help="may own accounts that other merchants share"
    )
    domain = add("mail-domain", "what the domain of our mails needs in its DNS", _mail_domain)
    domain.add_argument("--check", action="store_true", help="ask the DNS whether it is there")
    keys = add("keys", "encryption keys", _keys_rotate)
    keys.add_argument("action", choices=["rotate"], help="seal all secrets with the newest key")
    rates = add("base-rates", "base rates of interest, which change twice a year", _base_rates)
    rates.add_argument("action", choices=["list", "add"])
    rates.add_argument("country", nargs="?", help="DE or AT")
    rates.add_argument("date", nargs="?", help="the first day: 2027-01-01 or 2027-07-01")
    rates.add_argument("percent", nargs="?", help="a year, such as 1.27")
    return parser


def _parse(arguments: list[str]) -> int:
    from server.parse import main as parse

    return parse(arguments)


def _match(arguments: list[str]) -> int:
    from server.match import main as match

    return match(arguments)


def _catcher(arguments: list[str]) -> int:
    from server.catcher import main as catcher

    return catcher(arguments)


_OWN_PARSERS = {"parse": _parse, "match": _match, "catcher": _catcher}


def _run(known: argparse.Namespace) -> int:
    from server.supervisor import run

    return run(with_demo=not known.no_demo, second_shop=known.shop)


def _demo(known: argparse.Namespace) -> int:
    from server.demo import play

    return play(as_json=known.json)


def _prepare_demo(_: argparse.Namespace) -> int:
    from server.app import create_app
    from server.demo import prepare

    prepare(create_app(_settings()))
    return 0


def _web(_: argparse.Namespace) -> int:
    from server.web import Web

    settings = _settings()
    sys.argv = sys.argv[:1]  # gunicorn would read our command line
    Web(settings).run()
    return 0


def _clock(_: argparse.Namespace) -> int:
    from server.app import create_app
    from server.clock import run

    run(create_app(_settings()))
    return 0


def _relay(_: argparse.Namespace) -> int:
    from server import submission
    from server.app import create_app

    try:
        submission.run(create_app(_settings()))
    except OSError as problem:
        print(f"The relay cannot start: {problem}", file=sys.stderr)
        return 1
    return 0


def _bounces(_: argparse.Namespace) -> int:
    from server import bounces
    from server.app import create_app

    try:
        bounces.run(create_app(_settings()))
    except OSError as problem:
        print(f"The receiver of bounces cannot start: {problem}", file=sys.stderr)
        return 1
    return 0


def _worker(known: argparse.Namespace) -> int:
    from server.app import create_app
    from server.jobs import work

    work(create_app(_settings()), known.kind)
    return 0


def _migrate(_: argparse.Namespace) -> int:
    from server import migrations

    migrations.upgrade(_settings().database_url)
    return 0


def _merchant_add(known: argparse.Namespace) -> int:
    from server.app import create_app
    from server.db import db, now
    from server.merchants.service import AlreadyThere, add_merchant

    settings = _settings()
    app = create_app(settings)
    with app.app_context():
        try:
            user, token = add_merchant(known.name, known.email, now())
            user.merchant.is_operator = known.operator
        except (AlreadyThere, ValueError) as problem:
            print(problem, file=sys.stderr)
            return 1
        db.session.commit()
        print(f"{user.email} may set a password within 7 days, once:")
        print(f"{settings.url}/password/{token}")
    return 0


def _keys_rotate(_: argparse.Namespace) -> int:
    from server.app import create_app
    from server.banking import fetching
    from server.callbacks import service as callbacks
    from server.collection import service as collection
    from server.db import db
    from server.letters import services as print_services
    from server.mail import domains
    from server.refunds import fints as refunds_by_fints
    from server.shops import connections
    from server.vault import Vault, VaultLocked

    settings = _settings()
    with create_app(settings).app_context():
        try:
            vault = Vault(settings.encryption_keys)
            sealed = {
                "bank accesses": fetching.reseal_all(vault),
                "mail keys": domains.reseal_all(vault),
                "callback secrets": callbacks.reseal_all(vault),
                "shop connections": connections.reseal_all(vault),
                "collection partners": collection.reseal_all(vault),
                "print services": print_services.reseal_all(vault),
                "repayment dialogs": refunds_by_fints.reseal_all(vault),
            }
        except VaultLocked as locked:
            print(locked, file=sys.stderr)
            return 1
        db.session.commit()
    counts = ", ".join(f"{count} {what}" for what, count in sealed.items())
    print(f"sealed with the newest key: {counts}")
    return 0


def _mail_domain(known: argparse.Namespace) -> int:
    """Exit 0: the records are right; 1: they are not, or were never looked at."""
    from server.app import create_app
    from server.db import db, now
    from server.mail import domains
    from server.mail.dns import resolver_of
    from server.mail.domain_rules import DomainError

    settings = _settings()
    with create_app(settings).app_context():
        try:
            row = domains.house_domain(now())
        except DomainError:
            name = domains.house_name()
            print(f"KONTOR_MAIL_FROM: no records help {name or 'this'}, it is no domain of yours",
                  file=sys.stderr)  # fmt: skip
            return 1
        db.session.commit()
        if known.check:
            asked = domains.question(row)
            db.session.commit()
            report = domains.observe(asked, resolver_of(settings), domains.home())
            domains.settle(row.id, report, now())
            db.session.commit()
        for line in domains.told(row):
            print(line)
        return 0 if domains.state_of(row) in ("proven", "failing") else 1


def _base_rates(known: argparse.Namespace) -> int:
    from server.app import create_app
    from server.db import db
    from server.dunning.rates import add_base_rate, base_rates

    with create_app(_settings()).app_context():
        if known.action == "add":
            try:
                add_base_rate(known.country or "", known.date or "", known.percent or "")
            except ValueError as problem:
                print(problem, file=sys.stderr)
                return 1
            db.session.commit()
        for country, begins, percent in base_rates():
            print(f"{country}  {begins}  {percent} %")
    return 0


def _settings() -> Settings:
    """From the environment; beside a running `make run`, from what that wrote down."""
    from server.config import Settings, read_runtime

    env = dict(os.environ)
    if "DATABASE_URL" not in env:
        env = {**read_runtime(Path(env.get("KONTOR_VAR") or "var")), **env}
    return Settings.from_env(env)
