"""Settings: read once from the environment, frozen, and refused when they cannot work."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

DOC = "see docs/configuration.md"
MIN_SECRET_LENGTH = 32


class WrongSetting(SystemExit):
    """A setting is missing or cannot work; the text names the variable and the page."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why} ({DOC})")


@dataclass(frozen=True)
class Settings:
    """Everything the server can be told from outside. One field, one variable."""

    database_url: str
    redis_url: str
    secret_key: str
    encryption_keys: tuple[str, ...]
    smtp_url: str | None = None
    url: str = "http://127.0.0.1:8000"
    bind: str = "127.0.0.1:8000"
    var: Path = Path("var")
    mail_from: str = "Kontor <kontor@localhost.localdomain>"
    bounce_domain: str | None = None
    bounce_bind: str | None = None
    bounce_mailbox: str | None = None
    spf_include: str | None = None
    dns_servers: tuple[str, ...] = ()
    mail_host: str = ""
    mx_port: int = 25
    mails_a_minute: int = 100
    relay_bind: str | None = None
    relay_tls_bind: str | None = None
    relay_host: str = ""
    relay_certificate: Path | None = None
    relay_key: Path | None = None
    relay_smtp_url: str | None = None
    relay_source: str = ""
    check_domains: bool = False
    inbox: Path | None = None
    fints_product_id: str | None = None
    allow_private_addresses: bool = False
    allowed_networks: tuple[str, ...] = ()
    allow_http: bool = False
    web_threads: int = 16
    log: str = "INFO"

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Raises WrongSetting. The supervisor fills in what the embedded services answer."""
        bind = env.get("KONTOR_BIND") or cls.bind
        check_bind(bind)
        return cls(
            database_url=psycopg_url(_needed(env, "DATABASE_URL")),
            redis_url=_needed(env, "REDIS_URL"),
            secret_key=_secret(env),
            encryption_keys=_encryption_keys(env),
            smtp_url=_smtp_url(env),
            url=_public_url(env, bind),
            bind=bind,
            var=Path(env.get("KONTOR_VAR") or "var").absolute(),
            mail_from=env.get("KONTOR_MAIL_FROM") or cls.mail_from,
            bounce_domain=env.get("KONTOR_BOUNCE_DOMAIN") or None,
            bounce_bind=_bounce_bind(env),
            bounce_mailbox=_bounce_mailbox(env),
            spf_include=_spf_include(env),
            dns_servers=_dns_servers(env),
            mail_host=_mail_host(env),
            mx_port=_count(env, "KONTOR_MX_PORT", cls.mx_port, 1, 65_535),
            mails_a_minute=_count(env, "KONTOR_MAILS_A_MINUTE", cls.mails_a_minute, 1, 100_000),
            relay_bind=_bind(env, "KONTOR_RELAY_BIND"),
            relay_tls_bind=_bind(env, "KONTOR_RELAY_TLS_BIND"),
            relay_host=_mail_host(env, "KONTOR_RELAY_HOST"),
            relay_certificate=_certificate(env, "KONTOR_RELAY_CERTIFICATE"),
            relay_key=_certificate(env, "KONTOR_RELAY_KEY"),
            relay_smtp_url=_smtp_url(env, "KONTOR_RELAY_SMTP_URL"),
            relay_source=_source(env),
            # The mail catcher takes mail for every domain, also where there is no DNS.
            check_domains=_switch(
                env, "KONTOR_CHECK_DOMAINS", "no" if env.get("KONTOR_CATCHER_URL") else "yes"
            ),
            inbox=Path(env["KONTOR_INBOX"]).absolute() if env.get("KONTOR_INBOX") else None,
            fints_product_id=env.get("KONTOR_FINTS_PRODUCT_ID") or None,
            allow_private_addresses=_switch(env, "KONTOR_ALLOW_PRIVATE_ADDRESSES"),
            allowed_networks=_networks(env),
            allow_http=_switch(env, "KONTOR_ALLOW_HTTP"),
            web_threads=_count(env, "KONTOR_WEB_THREADS", cls.web_threads, 2, 256),
            log=_log_level(env),
        )


_installed: list[Settings] = []


def install(settings: Settings) -> None:
    """Make these the settings of this process; called once, by ``create_app``."""
    _installed[:] = [settings]


def installed() -> Settings:
    """What rooms need from outside: the public address and the sender of system mails."""
    assert _installed, "create_app() installs the settings first"
    return _installed[0]


def psycopg_url(url: str) -> str:
    """``postgres://`` as hosting providers write it, with the driver SQLAlchemy wants."""
    for scheme in ("postgres://", "postgresql://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    if not url.startswith("postgresql+psycopg://"):
        raise WrongSetting("DATABASE_URL", "only Postgres is supported")
    return url


def check_bind(bind: str, name: str = "KONTOR_BIND") -> tuple[str, int]:
    """("127.0.0.1", 8000) of "127.0.0.1:8000"; raises WrongSetting."""
    host, _, port = bind.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise WrongSetting(name, f"{bind!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def address_and_port(text: str) -> tuple[str, int]:
    """("192.0.2.1", 53) of "192.0.2.1" or "[2001:db8::1]:53"; raises ValueError."""
    if text.count(":") > 1 and not text.startswith("["):  # an IPv6 address alone
        text = f"[{text}]"
    parts = urlsplit(f"//{text}")
    return str(ip_address(parts.hostname or "")), parts.port or 53


def create_secrets(path: Path) -> dict[str, str]:
    """The secrets of an embedded installation, made on its first start and kept (0600)."""
    if not path.exists():
        made = {
            "KONTOR_SECRET_KEY": secrets.token_hex(32),
            "KONTOR_ENCRYPTION_KEYS": _fernet_key(),
        }
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.writelines(f"{name}={value}\n" for name, value in made.items())
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


RUNTIME = "runtime.env"


def write_runtime(var: Path, env: Mapping[str, str]) -> None:
    """Where a running supervisor's services are, for commands beside it (0600)."""
    path = var / RUNTIME
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in sorted(env.items()))


def read_runtime(var: Path) -> dict[str, str]:
    """What ``write_runtime`` wrote; nothing if no supervisor runs."""
    try:
        lines = (var / RUNTIME).read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _fernet_key() -> str:
    import base64

    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _needed(env: Mapping[str, str], name: str) -> str:
    value = env.get(name)
    if not value:
        raise WrongSetting(name, "must be set")
    return value


def _secret(env: Mapping[str, str]) -> str:
    secret = _needed(env, "KONTOR_SECRET_KEY")
    if len(secret) < MIN_SECRET_LENGTH:
        raise WrongSetting("KONTOR_SECRET_KEY", f"needs {MIN_SECRET_LENGTH} characters or more")
    return secret


def _encryption_keys(env: Mapping[str, str]) -> tuple[str, ...]:
    import base64
    import binascii

    keys = tuple(_needed(env, "KONTOR_ENCRYPTION_KEYS").replace(",", " ").split())
    for key in keys:
        try:
            length = len(base64.urlsafe_b64decode(key))
        except (binascii.Error, ValueError):
            length = 0
        if length != 32:
            raise WrongSetting("KONTOR_ENCRYPTION_KEYS", "each is 32 bytes in url-safe base64")
    return keys


def _smtp_url(env: Mapping[str, str], variable: str = "SMTP_URL") -> str | None:
    url = env.get(variable) or None
    if url is None or url == "mx://":
        return url
    if urlsplit(url).scheme not in {"smtp", "smtps", "smtp+starttls"}:
        raise WrongSetting(
            variable, "begins with smtp://, smtps:// or smtp+starttls://, or is mx://"
        )
    return url


def _mail_host(env: Mapping[str, str], variable: str = "KONTOR_MAIL_HOST") -> str:
    name = env.get(variable) or ""
    if name and (not name.isascii() or not name.replace("-", "").replace(".", "").isalnum()):
        raise WrongSetting(variable, f"{name!r} is not the name of a host")
    return name


def _bind(env: Mapping[str, str], variable: str) -> str | None:
    bind = env.get(variable) or None
    if bind is not None:
        check_bind(bind, variable)
    return bind


def _certificate(env: Mapping[str, str], variable: str) -> Path | None:
    """Certificate and key are files, and come both or not at all."""
    both = [env.get(name) for name in ("KONTOR_RELAY_CERTIFICATE", "KONTOR_RELAY_KEY")]
    if any(both) and not all(both):
        raise WrongSetting(variable, "needs KONTOR_RELAY_CERTIFICATE and KONTOR_RELAY_KEY")
    return Path(env[variable]).absolute() if env.get(variable) else None


def _source(env: Mapping[str, str]) -> str:
    source = env.get("KONTOR_RELAY_SOURCE") or ""
    try:
        return str(ip_address(source)) if source else ""
    except ValueError:
        raise WrongSetting("KONTOR_RELAY_SOURCE", f"{source!r} is not an IP address") from None


def _spf_include(env: Mapping[str, str]) -> str | None:
    name = env.get("KONTOR_SPF_INCLUDE") or None
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+", name):
        raise WrongSetting("KONTOR_SPF_INCLUDE", f"{name!r} is not the name of a domain")
    return name.lower() if name is not None else None


def _dns_servers(env: Mapping[str, str]) -> tuple[str, ...]:
    servers = tuple((env.get("KONTOR_DNS_SERVERS") or "").replace(",", " ").split())
    for server in servers:
        try:
            address_and_port(server)
        except ValueError:
            raise WrongSetting("KONTOR_DNS_SERVERS", f"{server!r} is not ADDRESS:PORT") from None
    return servers


def _networks(env: Mapping[str, str]) -> tuple[str, ...]:
    networks = tuple((env.get("KONTOR_ALLOWED_NETWORKS") or "").replace(",", " ").split())
    for network in networks:
        try:
            ip_network(network)
        except ValueError:
            raise WrongSetting(
                "KONTOR_ALLOWED_NETWORKS", f"{network!r} is not a network such as 10.0.0.0/8"
            ) from None
    return networks


def _bounce_bind(env: Mapping[str, str]) -> str | None:
    bind = env.get("KONTOR_BOUNCE_BIND") or None
    if bind is not None:
        check_bind(bind, "KONTOR_BOUNCE_BIND")
        _check_bounce_domain(env, "KONTOR_BOUNCE_BIND")
    return bind


def _bounce_mailbox(env: Mapping[str, str]) -> str | None:
    url = env.get("KONTOR_BOUNCE_MAILBOX") or None
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        is_known = parts.scheme in {"imap", "imaps"} and parts.port != 0
    except ValueError:  # brackets without an end, a port that is none
        is_known = False
    if not is_known or not (parts.hostname and parts.username):
        raise WrongSetting("KONTOR_BOUNCE_MAILBOX", "is imaps://USER:PASSWORD@HOST/INBOX")
    _check_bounce_domain(env, "KONTOR_BOUNCE_MAILBOX")
    return url


def _check_bounce_domain(env: Mapping[str, str], name: str) -> None:
    if not env.get("KONTOR_BOUNCE_DOMAIN"):
        raise WrongSetting(name, "needs KONTOR_BOUNCE_DOMAIN, which mails are sent back to")


def _public_url(env: Mapping[str, str], bind: str) -> str:
    url = env.get("KONTOR_URL") or f"http://{bind}"
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise WrongSetting("KONTOR_URL", f"{url!r} is no http(s) address")
    return url.rstrip("/")


def _switch(env: Mapping[str, str], name: str, default: str = "no") -> bool:
    word = (env.get(name) or default).strip().lower()
    if word not in ("yes", "no"):
        raise WrongSetting(name, "must be yes or no")
    return word == "yes"


def _count(env: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    value = env.get(name)
    if not value:
        return default
    if not value.isdigit() or not least <= int(value) <= most:
        raise WrongSetting(name, f"is a number from {least} to {most}")
    return int(value)


def _log_level(env: Mapping[str, str]) -> str:
    level = (env.get("KONTOR_LOG") or "INFO").upper()
    if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise WrongSetting("KONTOR_LOG", "is DEBUG, INFO, WARNING or ERROR")
    return level
