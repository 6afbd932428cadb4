"""WooCommerce (REST API v3). What it can and cannot do is in README.md."""

from connectors.woocommerce.connector import WooCommerce
from connectors.woocommerce.settings import WooCommerceConfig

__all__ = ["WooCommerce", "WooCommerceConfig"]
