"""Dunning: what comes next for an order that is not paid, and when; the daily run that does it.

``rules`` decides (pure, with time as an argument), ``service`` does, ``models`` keeps which
reminders were sent and how each run went. A level is never counted: it is the reminders that exist.
"""
