"""What a connector author installs. The words, the wire, the interface and its tests."""
