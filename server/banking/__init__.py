"""Banking: what the bank says. Accounts, statements as delivered, and the postings in them.

formats/       files of banks to postings and problems; pure
rules/         what is decided: the same money, who is paid, what is ignored; pure
payments/      files and codes for banks to execute; pure
fints/         the conversation with a bank; no database
service.py     accounts, statements and ignore rules as people enter them
intake.py      deliveries to postings, with accounts.py and neighbours.py
fetching.py    accounts that fetch themselves
transfers.py   orders to pay, over the same accesses
folder.py      files that other programs lay down
sharing.py     accounts of the operator that merchants share
"""
