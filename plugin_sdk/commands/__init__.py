"""The commands of `kontor` that are more than one call; ``plugin_sdk.cli`` reads their options."""
