"""Collection: debts that somebody else collects (S79, S64, K61, K62).

A case is written with the order that it is about; here it is handed over to the merchant's
partner with everything that proves the debt, and what happens there comes back.
"""
