"""The tickers of many symbols in one call, although REST may not know one of them.

Where it does not know one, it refuses the call as a whole, or leaves that one out. Then all tickers there are are asked
for at once; who is not among them is left out of the next questions for a while.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from kraken_engine.errors import DecodeError, Rejected, UsageError
from kraken_engine.normalise.events import TickerUpdate
from kraken_engine.runtime import Clock

__all__ = ["AsksTickers", "Tickers"]

_NAMED_SYMBOLS = 50
"""More tickers than these are asked for by asking for all."""
_UNKNOWN_S = 600.0
"""How long a symbol that REST does not know is left out."""


class AsksTickers(Protocol):
    """The question it takes; see :class:`~kraken_engine.feed.questions.Questions`."""

    async def ticker(
        self, symbols: Sequence[str] = (), *, timeout_s: float | None = None
    ) -> Mapping[str, TickerUpdate]:
        """Return tickers by symbol: of ``symbols``, or without any all there are."""
        ...


@attrs.define(eq=False)
class Tickers:
    """Asks for tickers, and remembers which symbols REST does not know."""

    questions: AsksTickers
    clock: Clock
    _unknown: dict[str, float] = attrs.field(factory=dict[str, float], init=False)
    """Symbols REST does not know, and until when they are not asked for."""

    async def ask(self, symbols: Sequence[str]) -> Mapping[str, TickerUpdate]:
        """Return the tickers of those of ``symbols`` that REST knows, others perhaps with them.

        One call, or two where REST turns out not to know a symbol; none where it knows none of them.

        Raises:
            EngineError: REST did not answer, or refuses the question whatever it is about.
        """
        now = self.clock.now()
        self._unknown = {symbol: until_s for symbol, until_s in self._unknown.items() if until_s > now}
        known = [symbol for symbol in dict.fromkeys(symbols) if symbol not in self._unknown]
        if not known:
            return {}
        if len(known) <= _NAMED_SYMBOLS:
            try:
                return await self.questions.ticker(known)
            except (DecodeError, UsageError):
                pass
            except Rejected as error:
                if error.retryable:
                    raise
        everything = await self.questions.ticker(())
        self._unknown.update((symbol, now + _UNKNOWN_S) for symbol in known if symbol not in everything)
        return everything
