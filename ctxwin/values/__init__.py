"""What the rooms say to each other: frozen values without state."""
