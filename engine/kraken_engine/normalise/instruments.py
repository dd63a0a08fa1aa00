"""Reference data and the venue's announced state become events.

Knows the venue's words for instruments and states; which of them matter to whom is decided above.
"""

from __future__ import annotations

from kraken_engine.codec.numbers import decimal_of, positive
from kraken_engine.codec.ws_v2 import InstrumentMessage, Pair, StatusMessage, decode_pair
from kraken_engine.errors import DecodeError
from kraken_engine.model import Instrument, VenueMode
from kraken_engine.normalise.events import InstrumentUpdate, VenueStatus
from kraken_engine.normalise.market_data import Reject

__all__ = ["instrument_update", "venue_status"]

_MODES = {mode.value: mode for mode in VenueMode if mode is not VenueMode.UNKNOWN}


def instrument_update(message: InstrumentMessage, *, received_s: float, reject: Reject) -> InstrumentUpdate:
    """Return the instruments of ``message``, without those that make no sense.

    Args:
        message: a decoded snapshot or update.
        received_s: monotonic seconds at which its bytes were read.
        reject: told of entries left out; the others stand.
    """
    instruments: list[Instrument] = []
    for index, raw in enumerate(message.data.pairs):
        path = f"$.data.pairs[{index}]"
        try:
            instruments.append(_instrument(decode_pair(raw, path), path))
        except DecodeError as error:
            reject(error)
    return InstrumentUpdate(instruments=tuple(instruments), snapshot=message.type == "snapshot", received_s=received_s)


def venue_status(message: StatusMessage, *, at_s: float, reject: Reject) -> VenueStatus | None:
    """Return the venue's announced state; a word not known here is :attr:`VenueMode.UNKNOWN`, never an error.

    Args:
        message: a decoded status message.
        at_s: monotonic seconds at which its bytes were read.
        reject: told when there is no state in it; then None is returned.
    """
    if not message.data:
        reject(DecodeError("$.data", "one element", "none"))
        return None
    status = message.data[0]
    return VenueStatus(
        at_s=at_s,
        mode=_MODES.get(status.system, VenueMode.UNKNOWN),
        text=status.system,
        maintenance=(*status.upcoming_maintenance, *status.emergency),
    )


def _instrument(pair: Pair, path: str) -> Instrument:
    if not pair.symbol or not pair.base or not pair.quote:
        raise DecodeError(f"{path}.symbol", "symbol, base and quote", pair.symbol)
    return Instrument(
        symbol=pair.symbol,
        base=pair.base,
        quote=pair.quote,
        status=pair.status,
        price_decimals=pair.price_precision,
        qty_decimals=pair.qty_precision,
        price_increment=positive(pair.price_increment, f"{path}.price_increment"),
        qty_increment=positive(pair.qty_increment, f"{path}.qty_increment"),
        qty_min=decimal_of(pair.qty_min, f"{path}.qty_min"),
        # The docs give this one number as a string, recordings as a number.
        cost_min=decimal_of(
            pair.cost_min.encode() if isinstance(pair.cost_min, str) else pair.cost_min, f"{path}.cost_min"
        ),
        marginable=pair.marginable,
    )
