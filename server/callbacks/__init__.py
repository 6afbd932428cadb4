"""Callbacks: what happens to orders and mails, told to addresses that the merchant typed."""
