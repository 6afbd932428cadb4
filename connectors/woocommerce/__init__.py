"""WooCommerce (REST API v3). What it can and cannot do is in README.md."""

from connectors.woocommerce.connector import WooCommerce, WooCommerceConfig

__all__ = ["WooCommerce", "WooCommerceConfig"]
