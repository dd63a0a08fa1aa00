"""The simulated exchange without I/O: market, channels, sessions, REST answers, faults.

In the order in which things happen: ``agenda`` says what is next; ``market`` lets somebody act in the book of
``matching``; ``listing`` turns that into messages with ``book_channel``, ``candles`` and ``frames``; ``delivery``
takes them to ``sessions``, broken where ``faults`` says so. What clients ask is read by ``requests`` and answered by
``gateway`` and ``rest_public``. ``oracle`` tells judges the truth. ``exchange`` holds it all together, and ``ports``
is what a shell has to know.
"""
