"""`kontor`: write a connector, try it, and run one beside a shop.

    kontor new my_shop [--package]            a connector to begin with; its tests are green
    kontor check [--json]                     what is right and wrong about the settings
    kontor pull [ID ...]                      the shop's orders as the server would get them
    kontor push ID [--intent paid] [--dry-run]    a payment status, or what would be written
    kontor listen [HOST:PORT]                 only receive webhooks, and show which are genuine
    kontor diagnose [FILE]                    a bundle for support, without secrets and customers
    kontor dev                                server, fake shop and agent, for the connector at hand
    kontor run [--listen HOST:PORT]           the agent

Settings come from kontor.toml and the environment, which wins: KONTOR_URL, KONTOR_API_KEY,
KONTOR_CONNECTOR, KONTOR_STATE, and KONTOR_<FIELD> for every setting of the connector; `kontor --set
field=value COMMAND` comes before both. A connector is named as it is installed, by its folder
in connectors/, or as module:Class.
Exit codes: 0 all is well, 1 something was found, 2 wrong usage or settings.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugin_sdk.agent import Agent
from plugin_sdk.client import Client
from plugin_sdk.connector import Connector, Finding, Severity
from plugin_sdk.errors import ConnectorError, Misconfigured
from plugin_sdk.installed import connector_class, installed_connectors
from plugin_sdk.schemas import OrderSchema
from plugin_sdk.types import (
    Acknowledgement,
    Evidence,
    Intent,
    Order,
    Outcome,
    PaymentStatus,
    PaymentUpdate,
)

CONFIG_FILE = "kontor.toml"
STATE_DIRECTORY = "kontor-state"
MAX_PAGES = 1000
OK, FOUND, USAGE = 0, 1, 2
FINE = (Outcome.APPLIED, Outcome.ALREADY_THERE)

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


@dataclass(frozen=True, slots=True)
class Settings:
    """What kontor.toml and the environment say together."""

    url: str
    api_key: str
    connector: str
    state: Path
    fields: Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except Misconfigured as error:
        _say(f"kontor: {error}")
        return USAGE
    except ConnectorError as error:
        _say(f"kontor: {error}")
        return FOUND
    except BrokenPipeError:
        # Whoever reads (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def read_settings(environment: Mapping[str, str], config: Path | None = None) -> Settings:
    """Merge kontor.toml (``config``, else ./kontor.toml if it is there) and the environment.

    Raises Misconfigured when the file cannot be read or no connector is named.
    """
    path = config or Path(CONFIG_FILE)
    written: dict[str, Any] = {}
    if config is not None or path.exists():
        try:
            written = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise Misconfigured(f"{path} cannot be read ({type(error).__name__}).") from None
    connector = environment.get("KONTOR_CONNECTOR") or str(written.get("connector", ""))
    if not connector:
        known = ", ".join(installed_connectors())
        raise Misconfigured(f"KONTOR_CONNECTOR is missing; known are: {known}.")
    cls = find_class(connector)
    table = written.get(cls.name, {})
    if not isinstance(table, dict):
        raise Misconfigured(f"{path}: [{cls.name}] is no table.")
    values = dict(table)
    for item in fields(cls.Config):
        variable = f"KONTOR_{item.name.upper()}"
        if variable in environment:
            values[item.name] = environment[variable]
    return Settings(
        url=environment.get("KONTOR_URL") or str(written.get("url", "")),
        api_key=environment.get("KONTOR_API_KEY") or str(written.get("api_key", "")),
        connector=connector,
        state=Path(environment.get("KONTOR_STATE") or written.get("state", STATE_DIRECTORY)),
        fields=values,
    )


def find_class(name: str) -> type[Connector[Any]]:
    """The connector of this name; module:Class may lie in the folder where the command is called.

    Only here: a server takes names from merchants, and loads what is installed. Raises
    Misconfigured when there is none.
    """
    module_name, colon, class_name = name.partition(":")
    if not colon:
        return connector_class(name)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there and misses something else
        found = None
    if not (isinstance(found, type) and issubclass(found, Connector)):
        raise Misconfigured(f"There is no connector {class_name!r} in a module {module_name!r}.")
    return found


def _settings_of(arguments: argparse.Namespace) -> Settings:
    """What file, environment and --set say. A secret in a command is a secret in its history."""
    settings = read_settings(os.environ, arguments.config)
    secret = {
        item.name
        for item in fields(find_class(settings.connector).Config)
        if item.metadata.get("secret")
    }
    given = dict(arguments.set)
    if secret & set(given):
        names = ", ".join(f"KONTOR_{name.upper()}" for name in sorted(secret & set(given)))
        raise Misconfigured(f"Everybody on this machine sees a command; set {names} instead.")
    return replace(settings, fields={**settings.fields, **given})


def _check(arguments: argparse.Namespace) -> int:
    settings = _settings_of(arguments)
    findings = _connector(settings).check()
    if settings.url or settings.api_key:
        findings.append(_check_server(settings))
    if arguments.json:
        _print(json.dumps([asdict(each) for each in findings], ensure_ascii=False, indent=2))
    for finding in () if arguments.json else findings:
        _print(f"{finding.severity.value:8} {finding.topic}: {finding.text}")
    return FOUND if any(each.severity is Severity.PROBLEM for each in findings) else OK


def _check_server(settings: Settings) -> Finding:
    client = Client(settings.url, settings.api_key, budget_seconds=0)
    try:
        client.list_orders(PaymentStatus.UNPAID.value)
    except ConnectorError as error:
        return Finding("kontor", Severity.PROBLEM, str(error))
    return Finding("kontor", Severity.NOTE, "Kontor accepts the API key.")


def _pull(arguments: argparse.Namespace) -> int:
    connector = _connector(_settings_of(arguments))
    if arguments.ids:
        return _pull_by_id(connector, arguments.ids)
    problems = 0
    left = arguments.limit
    for order, problem in _all_orders(connector):
        if problem:
            problems += 1
            _say(problem)
        elif order is not None and left > 0:
            _print(json.dumps(OrderSchema().dump(order), ensure_ascii=False))
            left -= 1
        if left <= 0:
            break
    return FOUND if problems else OK


def _pull_by_id(connector: Connector[Any], ids: Sequence[str]) -> int:
    found = connector.get_orders(ids)
    for key in ids:
        answer = found.get(key)
        if isinstance(answer, Order):
            _print(json.dumps(OrderSchema().dump(answer), ensure_ascii=False))
        else:
            _say(f"{key}: {answer.value if isinstance(answer, Evidence) else 'a draft'}")
    return OK if all(isinstance(found.get(key), Order) for key in ids) else FOUND


def _all_orders(connector: Connector[Any]) -> Iterator[tuple[Order | None, str]]:
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = connector.list_orders(cursor)
        yield from ((None, problem) for problem in page.problems)
        yield from ((order, "") for order in page.orders)
        cursor = page.cursor
        if not page.has_more:
            return


def _push(arguments: argparse.Namespace) -> int:
    connector = _connector(_settings_of(arguments))
    intent = Intent(arguments.intent)
    update = PaymentUpdate(
        id="by-hand",
        external_id=arguments.id,
        number=arguments.id,
        payment_status=PaymentStatus.PAID if intent is Intent.PAID else PaymentStatus.UNPAID,
        paid_total=Decimal("0.00"),
        currency="EUR",
        intent=intent,
        shop_status=arguments.shop_status,
        created_at=datetime.now(UTC),
    )
    if arguments.dry_run:
        plan = connector.plan_payment(update)
        if not isinstance(plan, Acknowledgement):
            _print(f"would change order {arguments.id} from {plan.before} to {plan.target}")
            return OK
        acknowledgement = plan
    else:
        acknowledgement = connector.push_payment(update)
    status = f" ({acknowledgement.shop_status})" if acknowledgement.shop_status else ""
    reason = f": {acknowledgement.reason}" if acknowledgement.reason else ""
    _print(f"{acknowledgement.outcome.value}{status}{reason}")
    return OK if acknowledgement.outcome in FINE else FOUND


def _run(arguments: argparse.Namespace) -> int:
    settings = _settings_of(arguments)
    connector = _connector(settings)
    stop = _asked_to_stop()
    client = Client(settings.url, settings.api_key, stop=stop)
    try:
        agent = Agent(
            connector,
            client,
            settings.state,
            listen=arguments.listen,
            report=_tell,
            stop=stop,
        )
    except OSError as error:
        raise Misconfigured(f"--listen: {error.strerror}.") from None
    agent.start()
    agent.wait()
    agent.stop()
    _tell("stopped")
    return OK


def _new(arguments: argparse.Namespace) -> int:
    from plugin_sdk.commands.new import next_steps, write_connector

    into = arguments.into or _usual_place(arguments.package)
    made = write_connector(arguments.name, into, package=arguments.package)
    _print(f"wrote {made.folder}; now:")
    for step in next_steps(arguments.name, made):
        _print(f"  {step}")
    return OK


def _usual_place(package: bool) -> Path:
    here = Path("connectors")
    return here if (here / "__init__.py").exists() and not package else Path()


def _listen_only(arguments: argparse.Namespace) -> int:
    from plugin_sdk.commands.listen import listen

    connector = _connector(_settings_of(arguments))
    refused = listen(
        connector,
        arguments.address,
        stop=_asked_to_stop(),
        count=arguments.count,
        tell=_tell,
        say=_say,
    )
    return FOUND if refused else OK


def _diagnose(arguments: argparse.Namespace) -> int:
    from plugin_sdk.commands.diagnose import Bundle, write_bundle

    settings = _settings_of(arguments)
    try:
        with contextlib.ExitStack() as ends:
            log = ends.enter_context(arguments.log.open(errors="replace")) if arguments.log else ()
            findings = write_bundle(
                Bundle(_connector(settings), settings.api_key, settings.url, settings.state, log),
                arguments.file,
            )
    except OSError as error:
        raise Misconfigured(f"{error.filename}: {error.strerror}.") from None
    _print(f"wrote {arguments.file}; look into it before you send it")
    return FOUND if any(each.severity is Severity.PROBLEM for each in findings) else OK


def _dev(arguments: argparse.Namespace) -> int:
    from plugin_sdk.commands.dev import run_dev

    name = arguments.connector or os.environ.get("KONTOR_CONNECTOR", "")
    if not name:
        known = ", ".join(installed_connectors())
        raise Misconfigured(f"Which connector? Known are: {known}.")
    run_dev(
        find_class(name),
        arguments.directory,
        checkout=arguments.checkout,
        stop=_asked_to_stop(),
        tell=_tell,
    )
    return OK


def _asked_to_stop() -> threading.Event:
    """Set by Ctrl-C and SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _connector(settings: Settings) -> Connector[Any]:
    return find_class(settings.connector)(settings.fields)


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise argparse.ArgumentTypeError("HOST:PORT is wanted, such as 127.0.0.1:8090")
    return host.strip("[]"), int(port)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError("NAME=VALUE is wanted, such as history_days=30")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kontor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, help="another file than ./kontor.toml")
    parser.add_argument(
        "--set",
        action="append",
        type=_pair,
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the connector, before all others; none that is secret",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_makers(commands)

    check = commands.add_parser("check", help="what is right and wrong about the settings")
    check.add_argument("--json", action="store_true", help="print the findings as JSON")
    check.set_defaults(command=_check)

    pull = commands.add_parser("pull", help="print the shop's orders, one JSON object a line")
    pull.add_argument("ids", nargs="*", metavar="ID", help="only these orders")
    pull.add_argument("--limit", type=int, default=100, help="at most so many (100)")
    pull.set_defaults(command=_pull)

    push = commands.add_parser("push", help="write a payment status to the shop")
    push.add_argument("id", metavar="ID")
    push.add_argument("--intent", choices=[each.value for each in Intent], default="paid")
    push.add_argument("--shop-status", help="write this status instead of the usual one")
    push.add_argument("--dry-run", action="store_true", help="only say what would be written")
    push.set_defaults(command=_push)

    run = commands.add_parser("run", help="push orders and pull payment updates until stopped")
    run.add_argument(
        "--listen",
        type=_listen,
        metavar="HOST:PORT",
        help="receive webhooks here; without it the shop is asked every 3 minutes instead of 30",
    )
    run.set_defaults(command=_run)
    return parser


def _add_makers(commands: Commands) -> None:
    """What serves whoever writes a connector or looks for a fault."""
    new = commands.add_parser("new", help="write a connector to begin with")
    new.add_argument("name", help="such as my_shop")
    new.add_argument("--package", action="store_true", help="as a package to be installed")
    new.add_argument("--into", type=Path, metavar="DIR", help="where (connectors/, else here)")
    new.set_defaults(command=_new)

    listen = commands.add_parser("listen", help="only receive webhooks, and show them")
    listen.add_argument(
        "address", nargs="?", type=_listen, default=("127.0.0.1", 8090), metavar="HOST:PORT"
    )
    listen.add_argument("--count", type=int, help="end after so many genuine ones")
    listen.set_defaults(command=_listen_only)

    diagnose = commands.add_parser("diagnose", help="a bundle for support, nothing secret in it")
    diagnose.add_argument(
        "file", nargs="?", type=Path, default=Path("kontor-diagnose.zip"), metavar="FILE"
    )
    diagnose.add_argument("--log", type=Path, metavar="FILE", help="a log of the agent")
    diagnose.set_defaults(command=_diagnose)

    dev = commands.add_parser("dev", help="server, mail catcher, fake shop and agent, to try")
    dev.add_argument("connector", nargs="?", help="its name, or module:Class")
    dev.add_argument("--checkout", type=Path, metavar="DIR", help="where the server's code is")
    dev.add_argument(
        "--directory", type=Path, default=Path("kontor-dev"), metavar="DIR", help="what is kept"
    )
    dev.set_defaults(command=_dev)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _tell(line: str) -> None:
    """One line an event; an agent whose terminal is gone works on."""
    with contextlib.suppress(OSError):
        _print(line)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
