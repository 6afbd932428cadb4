"""Forgetting: personal data gone from every room at once, and the extract that is handed out (S86).

A floor of its own above all that keeps such data. Amounts, dates and bookings stay.
"""
