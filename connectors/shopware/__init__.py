"""Shopware 6 (Admin API). What it can and cannot do is in README.md."""

from connectors.shopware.connector import Shopware
from connectors.shopware.settings import ShopwareConfig

__all__ = ["Shopware", "ShopwareConfig"]
