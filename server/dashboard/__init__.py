"""The dashboard: HTML for merchants.

A door: it loads, calls one service, commits and redirects. ``access`` lets people in, ``queries``
reads, ``words`` and ``status`` say it, and every page has a module of its own. Pages work without
JavaScript; htmx and ``static/app.js`` add comfort. Nothing comes from elsewhere.
"""

from __future__ import annotations

from flask import Blueprint, Flask

from server.dashboard import (
    access,
    account,
    bank,
    bank_connections,
    callbacks,
    collection,
    collection_partner,
    credits,
    customers,
    dunning,
    dunning_coming,
    dunning_preview,
    errors,
    export_keys,
    ignore_rules,
    letters,
    login,
    mail_kinds,
    mail_log,
    mail_look,
    mapping,
    movements,
    notices,
    orders,
    pages,
    payers,
    posting_list,
    postings,
    print_service,
    proposals,
    refunds,
    relay,
    relay_log,
    relay_plans,
    relay_quota,
    removals,
    replay_pages,
    sending_domains,
    settings_file,
    settings_log,
    settings_pages,
    shared_accounts,
    shop_connect,
    shops,
    statements,
    suppressions,
    today,
)


def register(app: Flask) -> None:
    """Everything of this door: pages, hooks, words, error pages. Needs ``SETTINGS``."""
    door = Blueprint(
        "dashboard",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/assets",
    )
    door.before_request(access.open_session)
    door.before_request(access.require_login)
    door.before_request(access.check_ids)
    door.before_request(access.check_form)
    door.after_request(access.secure)
    work = (today, orders, postings, posting_list, proposals, credits, refunds)
    reminders = (dunning, dunning_coming, dunning_preview, collection)
    sources = (statements, shops, shop_connect, mapping, removals, bank, bank_connections)
    operator = (shared_accounts, movements)
    settings = (
        settings_pages,
        settings_log,
        settings_file,
        replay_pages,
        payers,
        ignore_rules,
        sending_domains,
        suppressions,
        callbacks,
        export_keys,
        collection_partner,
        customers,
    )
    mails = (mail_look, mail_kinds, mail_log, notices, letters, print_service)
    relays = (relay, relay_log, relay_quota, relay_plans)
    every = (*work, *reminders, *sources, *operator, *settings, *mails, *relays, account, login)
    for module in every:
        door.register_blueprint(module.pages)
    pages.register(app)
    errors.register(app, door)
    app.register_blueprint(door)
