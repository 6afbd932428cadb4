"""Orders, and the ledger of what has been paid on them."""
