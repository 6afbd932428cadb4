"""Banking: what the bank says. Accounts, statements as delivered, and the postings in them.

`formats` reads the files of banks, `rules` decides when two postings are the same one.
"""
