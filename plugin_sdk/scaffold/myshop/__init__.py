"""MyShop. What it can and cannot do is in README.md."""

from plugin_sdk.scaffold.myshop.config import MyShopConfig
from plugin_sdk.scaffold.myshop.connector import MyShop

__all__ = ["MyShop", "MyShopConfig"]
