"""The private side of the venue: accounts, who may act for them, what they own, what they ordered and what was filled.

``settings`` says what an account is like, ``access`` who may call, ``counters`` how often, ``tokens`` who may listen.
``ledger`` counts money, ``orders`` and ``account`` keep what was asked and done, ``desk`` brings orders to the market.
``registry`` holds all accounts together; REST and the private channels are served from here, judges read ``truth``.
"""
