"""Callbacks: what happens to an order, told to addresses that the merchant typed."""
