"""The REST client: which operations there are, in which order calls leave, and what becomes of each.

``operations`` is the whole list of what may be called, in named groups; ``public`` and ``private`` are those operations
as typed methods; ``queue`` is the task that serves them, with breaker, limits, nonces and retries inside; ``sending``
puts one call on the wire. :func:`kraken_engine.tasks.rest.open_rest` opens it all as a scope.
"""
