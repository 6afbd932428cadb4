"""Connected shop systems: their health, their mapping, and what is on its way back to them."""
