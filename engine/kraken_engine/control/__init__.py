"""Decisions without I/O: when to retry, when a line is dead, when to change the source."""
