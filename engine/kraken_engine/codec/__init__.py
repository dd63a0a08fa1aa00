"""Stage 2: bytes to the venue's messages and back, field for field. No I/O, no opinions."""
