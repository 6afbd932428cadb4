"""The guard of outgoing calls: what an address leads to decides, however it is written."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import socket
import ssl
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plugin_sdk.errors import Misconfigured, Temporary
from plugin_sdk.http import HttpSession, Limits
from server.config import Settings
from server.egress import AddressRefused, Guard, Policy, check_url, is_public, limits

LOOPBACK = "127.0.0.0/8"
DRIPS = 100


def settings(**over) -> Settings:
    return Settings(database_url="", redis_url="", secret_key="x" * 32, encryption_keys=(), **over)


STRICT = settings()
OPEN = settings(allowed_networks=(LOOPBACK,), allow_http=True)


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Host"]))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", self.server.target)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/drip":
            self.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {DRIPS}\r\n\r\n".encode())
            self.drip(b" ")
        elif self.path == "/drip-headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            self.drip(b"X")
            self.wfile.write(b"\r\nContent-Length: 0\r\n\r\n")
        else:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    def drip(self, byte):
        """All of them in the end, so that only a deadline makes a difference."""
        for _ in range(DRIPS):
            if not self.server.over.wait(0.05):
                self.wfile.write(byte)

    def log_message(self, *_):
        """Says nothing."""


class Web(http.server.ThreadingHTTPServer):
    """A web server on loopback; ``asked`` are paths and Host headers, ``met`` its connections."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.asked: list[tuple[str, str]] = []
        self.met = 0
        self.target = ""
        self.over = threading.Event()
        self.context = context

    def get_request(self):
        sock, address = super().get_request()
        self.met += 1
        if self.context is not None:
            sock = self.context.wrap_socket(sock, server_side=True)
        return sock, address

    def handle_error(self, *_):
        """A client that goes away is what these tests are about."""


@contextmanager
def serving(web: Web):
    thread = threading.Thread(target=web.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield web
    finally:
        web.over.set()
        web.shutdown()
        web.server_close()
        thread.join(5)


@pytest.fixture
def web():
    with serving(Web()) as running:
        yield running


@pytest.fixture
def names(monkeypatch):
    """A DNS of its own: names to addresses, one list after another if there are several."""
    known: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo
    asked: list[str] = []

    def answer(host, port, *args, **kwargs):
        if host not in known:
            return real(host, port, *args, **kwargs)
        asked.append(host)
        lists = known[host]
        addresses = lists.pop(0) if len(lists) > 1 else lists[0]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "",
             (one, port))
            for one in addresses
        ]  # fmt: skip

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return SimpleNamespace(known=known, asked=asked)


def session(policy_of: Settings = OPEN, **guard) -> requests.Session:
    made = requests.Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, Guard(Policy.of(policy_of), **guard))
    return made


# --- addresses ----------------------------------------------------------------------------------

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:0808:0808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_what_is_no_part_of_the_internet_is_refused(text):
    address = ipaddress.ip_address(text)
    assert not is_public(address)
    assert not Policy().allows(address, 443)


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_what_belongs_to_the_internet_is_allowed(text):
    assert Policy().allows(ipaddress.ip_address(text), 443)


def test_the_operator_opens_networks_and_no_others():
    policy = Policy.of(settings(allowed_networks=("10.1.0.0/16", "fd00::/8")))
    allowed = {
        text: policy.allows(ipaddress.ip_address(text), 9000)
        for text in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::5", "10.2.0.1", "127.0.0.1")
    }
    assert allowed == {
        "10.1.2.3": True,
        "::ffff:10.1.2.3": True,
        "fd00::5": True,
        "10.2.0.1": False,
        "127.0.0.1": False,
    }


def test_private_addresses_open_everything_but_the_metadata_service():
    policy = Policy.of(settings(allow_private_addresses=True))
    assert policy.allows_http
    for text in ("127.0.0.1", "::1", "10.0.0.1", "fd00::1"):
        assert policy.allows(ipaddress.ip_address(text), 9000), text
    for text in ("169.254.169.254", "fd00:ec2::254", "fe80::1", "0.0.0.0", "224.0.0.1"):
        assert not policy.allows(ipaddress.ip_address(text), 80), text


def test_at_public_addresses_only_the_ports_of_the_web():
    address = ipaddress.ip_address("8.8.8.8")
    assert [port for port in (22, 25, 80, 443, 3306, 8443) if Policy().allows(address, port)] == [
        80,
        443,
        8443,
    ]


# --- what is typed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "unreadable"),
        ("shop.example", "unreadable"),
        ("ftp://shop.example/", "unreadable"),
        ("file:///etc/passwd", "unreadable"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "unreadable"),
        ("https://", "unreadable"),
        ("https:///path", "unreadable"),
        ("https://[::1", "unreadable"),
        ("https://shop.example:99999/", "unreadable"),
        ("https://shop example/", "unreadable"),
        ("https://shop.example\\@127.0.0.1/", "unreadable"),
        ("https://shop.example/\r\nX-Evil: 1", "unreadable"),
        ("https://shop.example/" + "a" * 500, "unreadable"),
        ("https://" + "a" * 64 + ".example/", "unreadable"),
        ("https://-/", "unreadable"),
        ("https://user@shop.example/", "login"),
        ("https://:pass@shop.example/", "login"),
        ("http://shop.example/", "scheme"),
        ("https://shop.example:25/", "port"),
        ("https://8.8.8.8:25/", "port"),
        ("https://127.0.0.1/", "private"),
        ("https://[::1]/", "private"),
        ("https://[::ffff:10.0.0.1]/", "private"),
        ("https://169.254.169.254/latest/meta-data/", "private"),
        ("https://shop.example/kontor?shop=1", None),
        ("https://bücher.example/kontor", None),
        ("https://shop.example:8443/", None),
        ("https://8.8.8.8/", None),
    ],
)
def test_what_is_surely_wrong_is_told_at_once(url, reason):
    if reason is None:
        assert check_url(f" {url} ", STRICT) == url
        return
    with pytest.raises(AddressRefused) as refused:
        check_url(url, STRICT)
    assert refused.value.reason == reason


def test_what_the_operator_opened_may_be_typed():
    assert check_url("http://127.0.0.1:5000/x", OPEN) == "http://127.0.0.1:5000/x"
    with pytest.raises(AddressRefused, match="leads into a private network"):
        check_url("http://10.0.0.1/", OPEN)


# --- what is connected to -----------------------------------------------------------------------


@pytest.mark.feature("K79")
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0"]
)
def test_no_way_of_writing_it_leads_to_this_machine(web, host):
    with pytest.raises(AddressRefused, match="leads into a private network"):
        session(settings(allow_http=True)).get(f"http://{host}:{web.server_port}/")
    assert web.met == 0


def test_the_operator_lets_this_machine_be_called(web):
    answer = session().get(f"http://127.0.0.1:{web.server_port}/path")
    assert answer.status_code == 200
    assert web.asked == [("/path", f"127.0.0.1:{web.server_port}")]


def test_a_name_that_leads_inside_is_refused_and_named(web, names):
    names.known["shop.internal"] = [["127.0.0.1"]]
    with pytest.raises(Misconfigured) as refused:
        session(settings(allow_http=True)).get(f"http://shop.internal:{web.server_port}/")
    assert str(refused.value) == "The address shop.internal leads into a private network."
    assert web.met == 0


def test_the_address_that_was_looked_at_is_the_one_that_is_called(web, names):
    """A name that leads outside first and inside a moment later is asked but once."""
    names.known["rebound.example"] = [["127.0.0.2"], ["127.0.0.1"]]
    only_two = settings(allowed_networks=("127.0.0.2/32",), allow_http=True)
    with pytest.raises(requests.ConnectionError):  # nobody listens there
        session(only_two).get(f"http://rebound.example:{web.server_port}/")
    assert names.asked == ["rebound.example"]
    assert web.met == 0


def test_of_several_addresses_only_the_good_ones_are_called(web, names):
    names.known["two.example"] = [["10.0.0.1", "127.0.0.2", "127.0.0.1"]]
    answer = session().get(f"http://two.example:{web.server_port}/")
    assert answer.status_code == 200
    assert web.asked == [("/", f"two.example:{web.server_port}")]


def test_without_leave_nothing_goes_out_unencrypted(web):
    with pytest.raises(AddressRefused, match="https://"):
        session(settings(allowed_networks=(LOOPBACK,))).get(f"http://127.0.0.1:{web.server_port}/")
    assert web.met == 0


def test_a_redirect_inside_reaches_nobody(web):
    with serving(Web()) as canary:
        web.target = f"http://127.0.0.1:{canary.server_port}/secret"
        only_web = settings(allowed_networks=("127.0.0.2/32",), allow_http=True)
        web_at = f"http://127.0.0.1:{web.server_port}/moved"
        told = HttpSession("the shop", user_agent="test", limits=limits(OPEN))
        with pytest.raises(Misconfigured, match="redirects to"):
            told.request("GET", web_at)
        with pytest.raises(AddressRefused):
            session(only_web).get(web_at)
        assert canary.met == 0


def test_a_proxy_of_the_environment_is_not_used(web, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert session().get(f"http://127.0.0.1:{web.server_port}/").status_code == 200


def test_a_name_that_nobody_knows_may_be_known_later(names):
    names.known["gone.example"] = [[]]
    told = HttpSession("the shop", user_agent="test", limits=limits(OPEN))
    with pytest.raises(Temporary, match="cannot be reached"):
        told.request("GET", "http://gone.example/")


@pytest.mark.parametrize("path", ["/drip", "/drip-headers"])
def test_an_answer_that_drips_is_ended(web, path):
    """Each byte comes in time, all of them never."""
    told = Limits(adapter=lambda: Guard(Policy.of(OPEN), deadline_seconds=0.4))
    asking = HttpSession("the shop", user_agent="test", limits=told)
    with pytest.raises(Temporary):
        asking.request("GET", f"http://127.0.0.1:{web.server_port}{path}")


def test_a_connection_is_used_again(web):
    asking = session()
    for _ in range(3):
        asking.get(f"http://127.0.0.1:{web.server_port}/")
    assert (len(web.asked), web.met) == (3, 1)


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Files of a certificate for shop.example that trusts itself, and of its key."""
    home = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (home / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (home / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return home


@pytest.fixture
def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    wanted: list[str | None] = []
    context.sni_callback = lambda _sock, name, _context: wanted.append(name)
    with serving(Web(context)) as running:
        yield SimpleNamespace(port=running.server_port, wanted=wanted, asked=running.asked)


def test_the_certificate_is_that_of_the_name(tls, names, certificate):
    names.known["shop.example"] = [["127.0.0.1"]]
    answer = session().get(
        f"https://shop.example:{tls.port}/", verify=str(certificate / "cert.pem")
    )
    assert answer.status_code == 200
    assert tls.wanted == ["shop.example"]
    assert tls.asked == [("/", f"shop.example:{tls.port}")]


def test_a_certificate_of_another_name_is_refused(tls, names, certificate):
    names.known["other.example"] = [["127.0.0.1"]]
    with pytest.raises(requests.exceptions.SSLError):
        session().get(f"https://other.example:{tls.port}/", verify=str(certificate / "cert.pem"))
    assert tls.asked == []
