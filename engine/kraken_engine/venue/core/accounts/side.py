"""The private side of the exchange, put together: accounts, their orders, their listeners, their REST calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from kraken_engine.venue.core.accounts.channels import PrivateChannels, Way
from kraken_engine.venue.core.accounts.desk import Desk
from kraken_engine.venue.core.accounts.operator import Operator
from kraken_engine.venue.core.accounts.private_gateway import PrivateGateway, PrivateRequestFaults
from kraken_engine.venue.core.accounts.registry import Accounts
from kraken_engine.venue.core.accounts.rest_account import account_endpoints
from kraken_engine.venue.core.accounts.rest_funding import funding_endpoints
from kraken_engine.venue.core.accounts.rest_history import history_endpoints
from kraken_engine.venue.core.accounts.rest_trading import trading_endpoints
from kraken_engine.venue.core.accounts.settings import AccountSettings
from kraken_engine.venue.core.accounts.truth import AccountTruth
from kraken_engine.venue.core.agenda import Happening
from kraken_engine.venue.core.delivery import Delivery
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.names import Names
from kraken_engine.venue.core.rest_private import PrivateRest
from kraken_engine.venue.core.timestamps import Stamps

__all__ = ["PrivateSide"]


class _Clockwork(Protocol):
    """The exchange, as its private side needs it."""

    seed: int

    def wall_ns(self) -> int:
        """Return how far the exchange has got."""
        ...

    def at_wall(self, wall_ns: int, happening: Happening) -> None:
        """Enter something into the agenda."""
        ...


class _Faults(PrivateRequestFaults, Way, Protocol):
    """Everything that may go wrong on command."""


class PrivateSide:
    """Everything about accounts."""

    def __init__(
        self,
        clockwork: _Clockwork,
        *,
        listings: Mapping[str, Listing],
        names: Names,
        delivery: Delivery,
        stamps: Stamps,
        faults: _Faults,
        accounts: Sequence[AccountSettings],
    ) -> None:
        self.channels = PrivateChannels(delivery, stamps, clockwork.wall_ns, faults)
        self.accounts = Accounts(clockwork.seed, {asset.code: asset for asset in names.assets}, self.channels)
        self.desk = Desk(listings, clockwork.at_wall)
        self.truth = AccountTruth(self.accounts)
        self.operator = Operator(
            self.accounts,
            self.desk,
            listings,
            seed=clockwork.seed,
            wall_ns=clockwork.wall_ns,
            at_wall=clockwork.at_wall,
        )
        self.gateway = PrivateGateway(
            self.accounts,
            self.channels,
            faults,
            lambda delay_ns, act: clockwork.at_wall(clockwork.wall_ns() + delay_ns, lambda _: act()),
        )
        self.rest = PrivateRest(
            self.accounts,
            [
                account_endpoints(self.accounts, names),
                history_endpoints(names),
                trading_endpoints(self.desk, names),
                funding_endpoints(names),
            ],
        )
        for settings in accounts:
            self.accounts.create(settings, clockwork.wall_ns())
