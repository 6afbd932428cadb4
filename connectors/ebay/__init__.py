"""eBay (Fulfillment, Trading and Finances APIs). What it can and cannot do is in README.md."""

from connectors.ebay.config import EbayConfig
from connectors.ebay.connector import Ebay

__all__ = ["Ebay", "EbayConfig"]
