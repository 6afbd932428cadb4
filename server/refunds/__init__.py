"""Repayments: money that goes back to whoever paid it (S78, K10, K55 to K59).

What is decided (``rules``), arranged and watched (``service``), and how it leaves for the bank
(``batches``). The rows stand with the orders, because the ledger counts them.
"""
