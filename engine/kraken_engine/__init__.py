"""A Trio engine for Kraken market data: verified, redundant, replayable from a seed.

Re-exports only; the folders below are the stages the data passes on its way to an application.
"""
