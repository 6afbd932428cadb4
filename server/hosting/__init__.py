"""Visits to shops that Kontor talks to itself, where the merchant runs no agent (S21).

The same connector class and the same ``plugin_sdk.sync`` run here as beside a shop; only what lies
behind them is another: rows instead of files, and the rooms instead of HTTP.
"""
