"""``kraken-engine venue``: the simulated exchange on real sockets, for any client."""

from __future__ import annotations

from kraken_engine.cli.interruption import open_interruption
from kraken_engine.cli.output import print_json, print_text
from kraken_engine.cli.parameters import Flag, Port, Rate, Seed, Symbols
from kraken_engine.runtime import real_runtime
from kraken_engine.venue.shells.server import VenueServer, VenueSettings, open_venue

__all__ = ["venue"]


async def venue(
    *,
    port: Port = 0,
    rest_port: Port = 0,
    control_port: Port | None = None,
    symbols: Symbols = 5,
    rate: Rate = 50.0,
    seed: Seed = 1,
    tls: str | None = None,
    json: Flag = False,
) -> int:
    """Serve a simulated venue on the loopback interface until interrupted.

    Parameters
    ----------
    port
        Port of the public WebSocket; 0 takes a free one.
    rest_port
        Port of the REST interface; 0 takes a free one.
    control_port
        Port that takes faults and tells the venue's own state; 0 takes a free one. Without it there is none.
    symbols
        How many markets there are.
    rate
        Book updates a second over all markets.
    seed
        What the markets do follows from it.
    tls
        Directory for a throw-away certificate; its authority is written there as ca.pem.
    json
        Print the addresses as one line of JSON.
    """
    settings = VenueSettings(
        ws_port=port,
        rest_port=rest_port,
        control_port=control_port,
        symbols=symbols,
        rate=rate,
        seed=seed,
        tls_dir=tls,
    )
    async with open_interruption() as interruption, open_venue(real_runtime(), settings) as server:
        addresses = _addresses(server)
        if json:
            print_json(addresses)
        else:
            print_text("".join(f"{name:8} {address or '-'}\n" for name, address in addresses.items()))
        await interruption.wait()
    return interruption.code


def _addresses(server: VenueServer) -> dict[str, str | None]:
    return {
        "ws": server.ws_url,
        "ws_auth": server.ws_auth_url,
        "ws_v1": None,
        "rest": server.rest_url,
        "control": server.control_url,
        "ca_file": server.ca_file,
    }
