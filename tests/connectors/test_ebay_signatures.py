"""What is signed at eBay, and what is asked for in XML: signed calls, deletions, CompleteSale."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connectors.ebay import Ebay, deletion, trading
from connectors.ebay import connector as ebay_connector
from connectors.ebay.signing import signature_headers
from plugin_sdk.connector import ShopCall
from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from plugin_sdk.http import USUAL
from plugin_sdk.testing.fake_ebay import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, FakeEbay

TOKEN = "k" * 40


class TestSignedCalls:
    @pytest.fixture
    def key(self):
        return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

    def pem(self, key, encoding=Encoding.PEM):
        return key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())

    def test_a_call_without_a_body(self, key):
        url = "https://apiz.ebay.com/sell/finances/v1/payout?limit=20"
        headers = signature_headers(self.pem(key).decode(), "jwe", "get", url, 1700000000)
        covered = '("x-ebay-signature-key" "@method" "@path" "@authority");created=1700000000'
        assert headers["Signature-Input"] == f"sig1={covered}"
        assert "content-digest" not in headers
        base = (
            '"x-ebay-signature-key": jwe\n"@method": GET\n"@path": /sell/finances/v1/payout\n'
            f'"@authority": apiz.ebay.com\n"@signature-params": {covered}'
        )
        proof = headers["Signature"]
        assert proof.startswith("sig1=:")
        key.public_key().verify(b64decode(proof[6:-1]), base.encode())

    def test_a_call_with_a_body(self, key):
        text = b64encode(self.pem(key, Encoding.DER)).decode()
        url = "https://api.ebay.com/sell/x"
        headers = signature_headers(text, "jwe", "POST", url, 1, b'{"hello": "world"}')
        # The digest is the one that RFC 9530 prints for this body.
        digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
        assert headers["content-digest"] == digest
        covered = (
            '("content-digest" "x-ebay-signature-key" "@method" "@path" "@authority");created=1'
        )
        base = (
            f'"content-digest": {digest}\n"x-ebay-signature-key": jwe\n"@method": POST\n'
            f'"@path": /sell/x\n"@authority": api.ebay.com\n"@signature-params": {covered}'
        )
        key.public_key().verify(b64decode(headers["Signature"][6:-1]), base.encode())

    def test_without_cryptography_it_says_what_to_install(self, key, monkeypatch):
        monkeypatch.setitem(
            __import__("sys").modules, "cryptography.hazmat.primitives.serialization", None
        )
        with pytest.raises(Misconfigured, match=r"kontor-sdk\[ebay\]"):
            signature_headers(self.pem(key).decode(), "jwe", "GET", "https://a.example/", 1)
        with pytest.raises(Misconfigured, match=r"kontor-sdk\[ebay\]"):
            deletion.verify(b"", deletion.Proof("k", b""), deletion.PublicKey("k"))


@pytest.fixture
def shop():
    ebay_connector._PUBLIC_KEYS.clear()  # a port may come again
    with FakeEbay() as fake:
        yield fake


@pytest.fixture
def connector(shop):
    settings = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": REFRESH_TOKEN,
        "base_url": shop.url,
    }
    made = Ebay(settings)
    yield made
    made.close()


class TestDeletion:
    def test_the_challenge(self):
        endpoint, token = "https://kontor.example.org/ebay/deletion", "t" * 40
        answer = deletion.challenge_answer("a8628072", token, endpoint)
        wanted = hashlib.sha256(f"a8628072{token}{endpoint}".encode()).hexdigest()
        assert answer == {"challengeResponse": wanted}

    def test_who_is_to_be_forgotten(self, shop, connector):
        headers, body = shop.deletion("erika-m", user_id="u-1")
        proof = deletion.read_proof(headers["X-EBAY-SIGNATURE"])
        deletion.verify(body, proof, connector.public_key(proof.key_id))
        user = deletion.read_deletion(body)
        assert (user.username, user.user_id) == ("erika-m", "u-1")
        assert user.notification_id

    def test_a_forgery_is_refused(self, shop, connector):
        headers, body = shop.deletion("erika-m")
        proof = deletion.read_proof(headers["X-EBAY-SIGNATURE"])
        key = connector.public_key(proof.key_id)
        with FakeEbay() as other:
            foreign = deletion.read_proof(other.deletion("erika-m")[0]["X-EBAY-SIGNATURE"])
        for forged, with_proof in (
            (body + b" ", proof),
            (body.replace(b"erika-m", b"bob-builder"), proof),
            (body, foreign),
            (body, deletion.Proof(proof.key_id, b"")),
        ):
            with pytest.raises(Rejected, match="does not fit"):
                deletion.verify(forged, with_proof, key)

    @pytest.mark.parametrize(
        "key",
        [deletion.PublicKey("x"), deletion.PublicKey("eA=="), deletion.PublicKey("eA==", "RSA"),
         deletion.PublicKey("eA==", digest="MD5")],
    )  # fmt: skip
    def test_keys_that_are_none(self, shop, key):
        headers, body = shop.deletion("erika-m")
        with pytest.raises(Rejected):
            deletion.verify(body, deletion.read_proof(headers["X-EBAY-SIGNATURE"]), key)

    @pytest.mark.parametrize(
        "header",
        ["", "x", "e30=", "W10=", "ü", b64encode(b'{"kid": "../user", "signature": ""}').decode(),
         b64encode(b'{"kid": 5, "signature": ""}').decode(), "A" * 5000],
    )  # fmt: skip
    def test_signatures_that_are_none(self, header):
        with pytest.raises(Rejected):
            deletion.read_proof(header)

    @pytest.mark.parametrize(
        "body",
        [b"", b"[]", b"{}", b"null", b'{"metadata": {"topic": "X"}, "notification": {"data": {}}}',
         b'{"metadata": {"topic": "MARKETPLACE_ACCOUNT_DELETION"}, "notification": {"data": {}}}',
         b"x" * 70_000],
    )  # fmt: skip
    def test_notifications_that_are_none(self, body):
        with pytest.raises(Rejected):
            deletion.read_deletion(body)

    def test_another_topic_is_no_deletion(self, shop):
        _, body = shop.deletion("erika-m")
        content = json.loads(body)
        content["metadata"]["topic"] = "ITEM_AVAILABILITY"
        with pytest.raises(Rejected, match="something else"):
            deletion.read_deletion(json.dumps(content).encode())

    def test_a_key_is_kept_for_an_hour(self, shop, connector):
        key_id = deletion.read_proof(shop.deletion("a")[0]["X-EBAY-SIGNATURE"]).key_id
        first = connector.public_key(key_id)
        asked = len(shop.requests)
        assert connector.public_key(key_id) == first
        assert len(shop.requests) == asked
        connector._clock = lambda: __import__("time").time() + 3601
        connector.public_key(key_id)
        assert len(shop.requests) == asked + 1

    def call(self, shop, method, query="", headers=(), body=b"", path="deletion", **settings):
        """What eBay's server asks of the address of a connection; nobody has logged in yet."""
        address = "https://kontor.example.org/webhooks/shops/4711"
        known = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "base_url": shop.url,
            "verification_token": TOKEN,
            **settings,
        }
        call = ShopCall(address, method, path, query, dict(headers), body)
        return Ebay.answer_call(known, call, USUAL)

    def test_the_challenge_is_answered_before_the_first_log_in(self, shop):
        reply = self.call(shop, "GET", "challenge_code=a8628072-3d33")
        endpoint = "https://kontor.example.org/webhooks/shops/4711/deletion"
        wanted = hashlib.sha256(f"a8628072-3d33{TOKEN}{endpoint}".encode()).hexdigest()
        assert (reply.status, reply.body) == (200, {"challengeResponse": wanted})

    @pytest.mark.parametrize("token", ["", "short", "x" * 81, "ü" * 40])
    def test_without_a_token_of_ebays_shape_nothing_is_answered(self, shop, token):
        with pytest.raises(Rejected):
            self.call(shop, "GET", "challenge_code=a", verification_token=token)
        with pytest.raises(Rejected):
            self.call(shop, "GET")

    def test_a_genuine_deletion_says_who_is_to_be_forgotten(self, shop):
        headers, body = shop.deletion("erika-m")
        reply = self.call(shop, "POST", headers=headers, body=body)
        assert (reply.status, reply.forget) == (200, ("erika-m",))

    def test_a_forged_deletion_forgets_nobody(self, shop):
        headers, body = shop.deletion("erika-m")
        for forged, with_headers in ((body + b" ", headers), (body, {}), (b"{}", headers)):
            reply = self.call(shop, "POST", headers=with_headers, body=forged)
            assert (reply.status, reply.forget) == (412, ())

    def test_trouble_at_ebay_is_no_forgery(self, shop):
        headers, body = shop.deletion("erika-m")
        shop.fail("500", times=5)
        with pytest.raises(Temporary):
            self.call(shop, "POST", headers=headers, body=body)

    def test_many_deletions_need_one_token(self, shop):
        for number in range(5):
            headers, body = shop.deletion(f"buyer-{number}")
            self.call(shop, "POST", headers=headers, body=body)
        assert len(shop.requests) == 2

    def test_other_addresses_are_not_known(self, shop):
        assert self.call(shop, "POST", path="register") is None

    def test_an_unknown_key_is_refused(self, connector):
        with pytest.raises(Rejected, match="specified key id is invalid"):
            connector.public_key("99999999-0000-4000-8000-000000000000")


NAMESPACE = 'xmlns="urn:ebay:apis:eBLBaseComponents"'


class TestTrading:
    def test_paid_stands_before_the_order(self):
        body = trading.complete_sale("12-00001-10001").decode()
        assert body.endswith(
            f"<CompleteSaleRequest {NAMESPACE}><Paid>true</Paid>"
            "<OrderID>12-00001-10001</OrderID></CompleteSaleRequest>"
        )
        assert b"&lt;a&gt;" in trading.complete_sale("<a>")

    def answer(self, inner, head=""):
        raw = f"{head}<CompleteSaleResponse {NAMESPACE}>{inner}</CompleteSaleResponse>"
        return trading.read_answer(raw.encode(), "CompleteSale")

    def failure(self, code, kind="RequestError", severity="Error"):
        return (
            "<Ack>Failure</Ack><Errors><ShortMessage>No.</ShortMessage><LongMessage>No &amp; no."
            f"</LongMessage><ErrorCode>{code}</ErrorCode><SeverityCode>{severity}</SeverityCode>"
            f"<ErrorClassification>{kind}</ErrorClassification></Errors>"
        )

    @pytest.mark.parametrize("ack", ["Success", "Warning"])
    def test_successes(self, ack):
        answer = self.answer(f"<Timestamp>2026-11-21T12:00:00.000Z</Timestamp><Ack>{ack}</Ack>")
        trading.raise_failure(answer)
        assert answer.timestamp == "2026-11-21T12:00:00.000Z"

    @pytest.mark.parametrize(
        ("code", "kind", "error"),
        [("21916984", "RequestError", trading.BadToken), ("518", "RequestError", Temporary),
         ("10007", "SystemError", Temporary), ("37", "RequestError", Rejected)],
    )  # fmt: skip
    def test_failures(self, code, kind, error):
        with pytest.raises(error, match=f"error {code}: No & no"):
            trading.raise_failure(self.answer(self.failure(code, kind)))

    def test_of_several_errors_a_warning_is_not_the_one(self):
        inner = self.failure("1", severity="Warning") + self.failure("37").replace(
            "<Ack>Failure</Ack>", ""
        )
        with pytest.raises(Rejected, match="error 37"):
            trading.raise_failure(self.answer(inner))

    def test_a_failure_without_a_reason(self):
        for ack in ("Failure", "PartialFailure", "?"):
            with pytest.raises(Rejected):
                trading.raise_failure(self.answer(f"<Ack>{ack}</Ack>"))

    @pytest.mark.parametrize(
        "raw",
        [b"", b"<html><body>Just a moment</body></html>", b"<CompleteSaleResponse><Ack>Success",
         f"<OtherResponse {NAMESPACE}><Ack>Success</Ack></OtherResponse>".encode(),
         b"<CompleteSaleResponse><Ack>Success</Ack></CompleteSaleResponse>",
         f"<CompleteSaleResponse {NAMESPACE}></CompleteSaleResponse>".encode(), b"\xff\xfe\x00"],
    )  # fmt: skip
    def test_what_is_no_answer_is_temporary(self, raw):
        with pytest.raises(Temporary):
            trading.read_answer(raw, "CompleteSale")

    @pytest.mark.parametrize(
        "head",
        ["<!DOCTYPE x>", '<!DOCTYPE x [<!ENTITY a "Success">]>',
         '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">'],
    )  # fmt: skip
    def test_document_types_are_refused(self, head):
        with pytest.raises(Temporary):
            self.answer("<Ack>Success</Ack>", head)

    def test_too_deep_and_too_much(self):
        with pytest.raises(Temporary):
            self.answer("<a>" * 30 + "</a>" * 30)
        with pytest.raises(Rejected):
            self.answer(f"<Ack>Success</Ack><a>{'x' * 300_000}</a>")
