"""A whole world from one seed: engine, venue, network and clock in one process, replayable."""
