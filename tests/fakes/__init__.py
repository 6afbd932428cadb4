"""Other sides that tests talk to: real servers on loopback that speak the real protocol."""
