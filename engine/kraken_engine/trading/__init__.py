"""What an application holds to trade: accounts, and everything that happened to them."""
