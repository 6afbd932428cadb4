"""Months of shop life in seconds: real services on a real database, with a clock of its own.

``world`` plays shops, customers, banks, merchants and workers from one seed; ``invariants`` says
what must hold whatever happens; ``oracle`` works out reminders a second time, in another way.
``python -m tests.simulator --seed 7`` plays one.
"""
