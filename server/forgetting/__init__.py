"""Forgetting: personal data of one order, gone from every room at once (S86).

A floor of its own above all that keeps such data. Amounts, dates and bookings stay.
"""
