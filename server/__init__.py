"""The sync server: rooms below, doors on top (docs/tour.md)."""
