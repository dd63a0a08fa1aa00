"""Invariants as code: what must hold whatever goes wrong, judged from outside.

Judges see what the engine publishes and delivers, what the network did, and the venue's own truth. They share no logic
with the engine: checksums, times and sequences are worked out here once more, from the digits shown. A judge never
raises; it reports to a :class:`~kraken_engine.sim.judges.verdict.Verdict`, which ends the run.
"""
