"""Look at the world: candidates from every source, each asked in its own protocol who it is."""
