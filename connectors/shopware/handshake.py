"""The app's side of a connection: the file to upload, and the requests by which a shop registers.

The host keeps the settings; what is said here changes them. Every merchant's app has a secret of
its own, so whoever signs with it has the merchant's file.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.shopware import app
from plugin_sdk.connector import AppPackage, ShopCall, ShopReply
from plugin_sdk.errors import Rejected

REGISTER, CONFIRM = "register", "confirm"
FILE_TIME = (2026, 1, 1, 0, 0, 0)  # the same settings give the same file


def package(settings: Mapping[str, Any], address: str) -> AppPackage:
    """The app as the administration takes it: a zip with one folder and the manifest in it.

    Asked for again it has the same secret, or the one in use would be void.
    """
    app_secret = str(settings.get("app_secret") or app.new_secret())
    text = app.manifest(
        register_url=f"{address}/{REGISTER}", webhook_url=address, app_secret=app_secret
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(f"{app.APP_NAME}/manifest.xml", FILE_TIME)
        archive.writestr(entry, text)
    return AppPackage(f"{app.APP_NAME}.zip", content.getvalue(), {"app_secret": app_secret})


def answer(settings: Mapping[str, Any], call: ShopCall, now: datetime) -> ShopReply | None:
    """What to answer the shop; None: this is nothing of a registration. Raises Rejected."""
    asked = (call.method, call.path.strip("/"))
    if asked == ("GET", REGISTER):
        return _register(settings, call, now)
    if asked == ("POST", CONFIRM):
        return _confirm(settings, call, now)
    return None


def _register(settings: Mapping[str, Any], call: ShopCall, now: datetime) -> ShopReply:
    app_secret = str(settings.get("app_secret") or "")
    found = app.read_registration(
        call.query,
        call.headers,
        app_secret=app_secret,
        now=now,
        shop_secret=str(settings.get("webhook_secret") or "") or None,
    )
    known = settings.get("shop_id")
    moves = found.shop_url != settings.get("shop_url")
    if known and not found.is_proven and (moves or found.shop_id != known):
        raise Rejected(
            "Another shop is connected here; end its connection in Kontor first, "
            "or register with its last secret."
        )
    shop_secret = app.new_secret()
    pending = {
        "shop_id": found.shop_id,
        "shop_url": found.shop_url,
        "secret": shop_secret,
        "is_proven": found.is_proven,
    }
    body = app.registration_answer(
        found,
        app_secret=app_secret,
        shop_secret=shop_secret,
        confirmation_url=f"{call.address}/{CONFIRM}",
    )
    # The secret in use stays valid until the shop confirms the new one.
    return ShopReply(body, settings={"pending": json.dumps(pending)})


def _confirm(settings: Mapping[str, Any], call: ShopCall, now: datetime) -> ShopReply:
    try:
        pending = json.loads(str(settings.get("pending") or ""))
    except ValueError:
        raise Rejected("No registration waits for this confirmation.") from None
    before = str(settings.get("webhook_secret") or "")
    found = app.read_confirmation(
        call.body,
        call.headers,
        shop_id=pending["shop_id"],
        shop_secret=pending["secret"],
        now=now,
        previous_secret=before if pending["is_proven"] else None,
    )
    if found.shop_url != pending["shop_url"]:
        raise Rejected("The confirmation names another address than the registration.")
    return ShopReply(
        {},
        settings={
            **app.settings_of(found, pending["secret"]),
            "shop_id": found.shop_id,
            "pending": "",
            "previous_secret": before,
            "previous_until": int(now.timestamp()) + app.OLD_SECRET_SECONDS,
        },
    )
