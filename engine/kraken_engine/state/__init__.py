"""Stage 4: events become what is true now: books, tickers, subscriptions. No I/O, no clock."""
