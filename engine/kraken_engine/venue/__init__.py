"""A simulated exchange: one deterministic core, shells for real sockets and for memory streams.

Written from the venue's documents and recordings, not from the client's code: it imports neither ``codec`` nor
``state`` (a test keeps that), so that client and venue cannot share a misunderstanding.
"""
