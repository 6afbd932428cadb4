"""easybill (REST API v1). What it can and cannot do is in README.md."""

from kontor_easybill.config import EasybillConfig
from kontor_easybill.connector import Easybill

__all__ = ["Easybill", "EasybillConfig"]
