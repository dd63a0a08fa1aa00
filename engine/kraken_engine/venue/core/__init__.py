"""The simulated exchange without I/O: market, channels, sessions, REST answers."""
