"""What is decided about bank accounts and postings; pure.

identity.py   when two postings of two files are the same money, and when they only look it
accounts.py   which account a customer is asked to pay to; whose account a file speaks of
ignoring.py   postings that nobody needs to look at
coverage.py   which days of an account are complete, and whether its balances add up
"""
