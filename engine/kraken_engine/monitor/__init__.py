"""Counters and key figures of a running engine."""
