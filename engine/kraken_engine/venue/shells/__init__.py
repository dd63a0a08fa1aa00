"""What carries the simulated exchange: sockets, memory streams, HTTP."""
