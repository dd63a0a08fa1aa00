"""Stage 3: the venue's messages become checked events in our own words. No I/O."""
