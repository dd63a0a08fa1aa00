"""One symbol's book as several lines bring it: applied once, however many lines there are.

The venue numbers nothing on its book channel, so there is no telling from a message where it belongs. But the same
change usually has the same content on every line. So there is a *log* of the messages that were applied and verified,
and each line has a *cursor* in it: the message up to which that line has brought everything. What a line brings next is

* the message after its cursor: the cursor moves on, and nothing has to be applied, for it was;
* another one, with the cursor at the head: it is applied to the book at the head, and appended if it verifies;
* another one, with the cursor behind the head: this line goes its own way from here. It gets a log of its own, with the
  book as it was at its cursor, and only what verifies there counts.

Logs *meet* when the head of one is a state that the other has, or had: same venue time, same checksum, and the same
levels down to the last one, which no checksum covers. Then the line that came later goes on in the other's log. This is
how a line joins that has just got its snapshot, whichever of the two is ahead; and how two lines find together again
that batch the same changes differently. Lines that part too often are left apart for a while: each is right by itself.
Which of the lines took fewer messages from where they parted tells several changes in one; that is remembered of it for
a while, too.

Where time and checksum agree but deeper levels do not, one of the lines was told something wrong (I-3), or lacks
something: the one with the older snapshot has to get a new one, or both where that is the same.

To each line its :class:`Replica` looks like a book of its own. If what a line brings does not verify, it loses its
book; the log keeps its own for the others.

Knows nothing of time, of what consumers see, or of what a loss costs.
"""

from __future__ import annotations

from collections.abc import Iterator

from kraken_engine.codec.ws_v2 import BookData
from kraken_engine.errors import Stale
from kraken_engine.normalise.book_view import VERIFIED_LEVELS, BookView, Witness
from kraken_engine.state.lineage import Lineage, Place
from kraken_engine.state.order_book import BookFault, OrderBook

__all__ = ["BookLog", "Replica", "SharedBook", "SharedBooks"]

MARK_EVERY = 32
"""Messages between two copies of the book at the head, from which any state since can be made again."""

MOST_BEHIND = 512
"""A line that is more messages behind the head than that goes its own way."""

PARTINGS = 3
"""So many times may lines part before they are left apart ..."""
FORGET_EVERY = 256
"""... until one parting is forgotten every so many messages; while apart, their deeper levels are compared ..."""
COMPARE_EVERY = 64
"""... once in so many."""


class BookLog:
    """A sequence of verified states of one book, and the lines that follow it.

    A state has a *position*: 0 is the snapshot with which the log began, each message makes the next one.
    """

    __slots__ = (
        "_entries", "_first", "_marks", "_origin_data", "_origin_is_snapshot", "_origin_source", "_sources",
        "head", "lineage", "members", "origin", "position", "strangers", "witness",
    )  # fmt: skip

    def __init__(self, head: OrderBook, data: BookData, origin: int, source: Replica, *, snapshot: bool) -> None:
        self.head = head
        """The book at :attr:`position`."""
        self.origin = origin
        """Counts the snapshots of the symbol: the larger, the later."""
        self.position = 0
        self.members: dict[Replica, None] = {}
        self.lineage = Lineage()
        self.witness = Witness()
        self.strangers: dict[BookLog, None] = {}
        """Logs known to differ in levels that no checksum covers."""
        self._origin_data = data
        self._origin_is_snapshot = snapshot
        self._origin_source = source
        self._entries: list[BookData] = []
        self._sources: list[Replica] = []
        """Who brought each of them first."""
        self._first = 1
        """Position of the first of the entries."""
        self._marks: list[tuple[int, OrderBook]] = [(0, head.copy())]
        """Positions and books, oldest first; never empty, and none is behind the first entry by more than one."""

    def message(self, position: int) -> BookData:
        """Return the message that made the state at ``position``, which is among those kept."""
        return self._entries[position - self._first] if position >= self._first else self._origin_data

    def source(self, position: int) -> Replica:
        """Return which line brought the state at ``position`` first."""
        return self._sources[position - self._first] if position >= self._first else self._origin_source

    def is_update(self, position: int) -> bool:
        """Return whether the message of ``position`` is an update: only these surely say when something happened."""
        return position >= self._first or not self._origin_is_snapshot

    def at(self, position: int) -> OrderBook:
        """Return a copy of the book as it was at ``position``, which is not before the oldest mark."""
        marked, book = next((at, book) for at, book in reversed(self._marks) if at <= position)
        book = book.copy()
        for entry in self._entries[marked + 1 - self._first : position + 1 - self._first]:
            book.apply(entry, snapshot=False)
        return book

    def append(self, data: BookData, source: Replica) -> None:
        """Apply a message that ``source`` brought to the book at the head.

        Raises:
            BookFault: it does not verify; the log is as it was, unless it had one member only.
        """
        try:
            self.head.apply(data, snapshot=False)
        except BookFault:
            if len(self.members) > 1:
                self.head = self.at(self.position)
            raise
        self.position += 1
        self._entries.append(data)
        self._sources.append(source)
        if not self.position % MARK_EVERY:
            self._marks.append((self.position, self.head.copy()))
            self._trim()

    def states(self, data: BookData) -> Iterator[int]:
        """Return the positions of states with the venue time and checksum of ``data``, the latest first."""
        if data.timestamp is None:
            return
        for position in range(self.position, self._marks[0][0] - 1, -1):
            kept = self.message(position)
            if kept.checksum == data.checksum and kept.timestamp == data.timestamp:
                yield position

    def laggards(self) -> list[Replica]:
        """Return the members that are too far behind for this log to wait for them."""
        return [member for member in self.members if self.position - member.cursor > MOST_BEHIND]

    def _trim(self) -> None:
        """Forget what no member needs any more, but for a short history in which newcomers may find themselves."""
        needed = min((member.cursor for member in self.members), default=self.position)
        needed = max(min(needed, self.position - MARK_EVERY), self.position - MOST_BEHIND - MARK_EVERY)
        spare = sum(at <= needed for at, _ in self._marks) - 1
        if spare > 0:
            del self._marks[:spare]
            oldest = self._marks[0][0]
            # The entry that made the oldest marked state is kept: it says when that was.
            if oldest >= self._first:
                self._origin_data, self._origin_source = self.message(oldest), self.source(oldest)
                self._origin_is_snapshot = False
            del self._entries[: oldest + 1 - self._first], self._sources[: oldest + 1 - self._first]
            self._first = oldest + 1


class SharedBook:
    """All that is known of one symbol's book at one depth, through every line."""

    def __init__(self, symbol: str, depth: int) -> None:
        self.symbol = symbol
        self.depth = depth
        self.logs: list[BookLog] = []
        self.partings = 0
        """How often a line went its own way lately."""
        self.disagreements = 0
        """How often two lines differed in levels that no checksum covers."""
        self._origins = 0

    def begin(self, replica: Replica, book: OrderBook, data: BookData, origin: BookLog | None = None) -> BookLog:
        """Return a new log for ``replica`` alone, whose first state is ``book``, made by ``data``.

        That is a snapshot, or the message that ``replica`` brought last in the log ``origin``.
        """
        if origin is None:
            self._origins += 1
            log = BookLog(book, data, self._origins, replica, snapshot=True)
        else:
            log = BookLog(book, data, origin.origin, replica, snapshot=not origin.is_update(replica.cursor))
            log.lineage.begin(origin.lineage, replica.cursor)
        log.members[replica] = None
        self.logs.append(log)
        return log

    def end(self, log: BookLog) -> None:
        """A log has no members any more."""
        self.logs.remove(log)

    def meet(self, log: BookLog) -> bool:
        """Let the members of ``log``, whose head is new, join another log if that has had this state.

        Returns:
            Whether they did.
        """
        apart = self.partings > PARTINGS
        if apart and log.position % COMPARE_EVERY:
            return False
        newest = log.message(log.position)
        for other in self.logs:
            if other is log or other in log.strangers:
                continue
            differs = False
            for position in other.states(newest):
                if other.at(position).same_levels(log.head):
                    self._agree(log, other, position)
                    if not apart:
                        self._join(log, other, position)
                    return not apart
                differs = True
            if differs:
                self._differ(log, other)
        return False

    def _agree(self, log: BookLog, other: BookLog, position: int) -> None:
        """Note that two lines have the same levels, unless a line only has met what it brought itself before."""
        if other.source(position) not in log.members or any(one.cursor >= position for one in other.members):
            log.witness.agreed_to = log.position
            other.witness.agreed_to = max(other.witness.agreed_to, position)

    def forget_parting(self) -> None:
        """So many messages passed without trouble that one parting may be forgotten, and with the last who lumps."""
        self.partings = max(0, self.partings - 1)
        if not self.partings:
            for log in self.logs:
                for member in log.members:
                    member.lumps = False

    def _join(self, log: BookLog, other: BookLog, position: int) -> None:
        steps = other.lineage.steps_since(log.lineage, log.position, position)
        if steps is not None and steps[0] != steps[1]:
            (other.source(position) if steps[0] < steps[1] else log.source(log.position)).lumps = True
        other.lineage.meet(log.lineage, log.position, position)
        for member in list(log.members):
            if member.cursor == log.position:
                del log.members[member]
                other.members[member] = None
                member.log, member.cursor = other, position
            else:
                member.part()
        if log in self.logs:  # else the last one that went its own way has ended it
            self.end(log)

    def _differ(self, log: BookLog, other: BookLog) -> None:
        self.disagreements += 1
        log.strangers[other] = other.strangers[log] = None
        time = log.message(log.position).timestamp
        oldest = min(log.origin, other.origin)  # lines that parted share theirs: then each may be wrong
        for member in (*log.members, *other.members):
            assert member.log is not None
            if member.log.origin == oldest:
                member.doubt = f"levels beyond {VERIFIED_LEVELS} differ between lines at {time}"


class Replica:
    """The book of one line: looks like an :class:`~kraken_engine.state.order_book.OrderBook` that is its own."""

    __slots__ = ("_instrument", "cursor", "doubt", "log", "lumps", "news", "shared")

    def __init__(self, shared: SharedBook) -> None:
        self.log: BookLog | None = None
        self.cursor = 0
        self.news = False
        """Whether the last message made a state that no line had brought before."""
        self.lumps = False
        """Whether this line lately told several changes in one message that another line told one by one."""
        self.doubt: str | None = None
        """Why a fresh snapshot is wanted although all checksums matched; whoever reads it sets it back."""
        self.shared = shared
        self._instrument = (0, 0)

    def __repr__(self) -> str:
        where = "no book" if self.log is None else f"at {self.cursor} of {self.log.position}"
        return f"Replica({self.shared.symbol!r}, {where})"

    @property
    def is_verified(self) -> bool:
        """Whether this line has a book: one whose last message left it with the venue's checksum."""
        return self.log is not None

    @property
    def precision(self) -> tuple[int, int]:
        """Digits after the point of prices and of quantities, as the present book is read."""
        return (0, 0) if self.log is None else self.log.head.precision

    @property
    def crossed(self) -> bool:
        """Whether the best bid of this line's book is at or above its best ask."""
        log = self.log
        if log is None:
            return False
        return (log.head if self.cursor == log.position else log.at(self.cursor)).crossed

    @property
    def venue_time(self) -> str | None:
        """The venue's time of the last message this line brought, if it has a book and its server tells times."""
        return None if self.log is None else self.log.message(self.cursor).timestamp

    @property
    def is_dated(self) -> bool:
        """Whether :attr:`venue_time` surely is when something happened, not when a snapshot was made."""
        return self.log is not None and self.log.is_update(self.cursor)

    @property
    def place(self) -> Place | None:
        """Where the present state is, if this line has a book."""
        return None if self.log is None else (self.log.lineage.token, self.cursor)

    def has_passed(self, place: Place) -> bool:
        """Return whether this line is known to have brought ``place``, or what comes after it."""
        return self.log is not None and self.log.lineage.has_passed(place, self.cursor)

    def follows(self, place: Place) -> bool:
        """Return whether this line has passed ``place``, or is going to."""
        log = self.log
        return log is not None and (log.lineage.token is place[0] or log.lineage.has_passed(place, self.cursor))

    def expect_precision(self, price_decimals: int, qty_decimals: int) -> None:
        """Say what the instrument says; holds from the next snapshot on."""
        self._instrument = (price_decimals, qty_decimals)

    def passes(self, data: BookData) -> bool:
        """Move on if ``data`` is the very object that is next for this line, and say whether it is."""
        log, at = self.log, self.cursor + 1
        if log is None or at > log.position or log.message(at) is not data or self.doubt is not None:
            return False
        self._move(log, at)
        return True

    def apply(self, data: BookData, *, snapshot: bool) -> bool:
        """Replace or change this line's book, then verify it.

        Returns:
            Whether the state is news: no line has brought it before.

        Raises:
            BookFault: as for an ``OrderBook``; this line has no book any more.
        """
        self.news = False
        if snapshot:
            self._begin(data)
        else:
            log = self.log
            if log is None:
                raise BookFault("update without a snapshot")
            if self.cursor < log.position:
                known = log.message(self.cursor + 1)
                if _same(known, data):
                    self._move(log, self.cursor + 1)
                    return False
                log = self.part()
                self.shared.partings += 1
            elif self._changes_nothing(log, data):
                return False
            self._append(log, data)
        assert self.log is not None
        self.news = len(self.shared.logs) == 1 or not self.shared.meet(self.log)
        return self.news

    def clear(self) -> None:
        """Give up this line's book; only a snapshot makes another."""
        log, self.log = self.log, None
        if log is not None:
            del log.members[self]
            if not log.members:
                self.shared.end(log)

    def part(self) -> BookLog:
        """Go on in a log of this line's own, from its cursor, and return that."""
        old = self.log
        assert old is not None
        book, data = old.at(self.cursor), old.message(self.cursor)
        self.clear()
        self.log = log = self.shared.begin(self, book, data, old)
        self.cursor = 0
        return log

    def view(self) -> BookView:
        """Return the present book of this line as an immutable value.

        Raises:
            Stale: there is none.
        """
        log = self.log
        if log is None:
            raise Stale("book", self.shared.symbol, "no verified book")
        book = log.head if self.cursor == log.position else log.at(self.cursor)
        return book.view(witness=log.witness, position=self.cursor)

    def _begin(self, data: BookData) -> None:
        self.clear()
        self.doubt = None
        book = OrderBook(self.shared.symbol, self.shared.depth)
        book.expect_precision(*self._instrument)
        book.apply(data, snapshot=True)
        self.log, self.cursor = self.shared.begin(self, book, data), 0

    def _changes_nothing(self, log: BookLog, data: BookData) -> bool:
        """Return whether ``data`` only repeats the state at the head: the same message, or the sum of the last few."""
        known = log.message(log.position)
        if data.checksum != known.checksum or data.timestamp != known.timestamp or data.timestamp is None:
            return False
        if _same(known, data):
            return True
        after = log.head.copy()
        try:
            after.apply(data, snapshot=False)
        except BookFault:
            return False  # for whoever applies it to find out
        return after.view() == log.head.view()

    def _append(self, log: BookLog, data: BookData) -> None:
        try:
            log.append(data, self)
        except BookFault:
            self.clear()
            raise
        self.cursor = log.position
        if not log.position % MARK_EVERY:
            for slow in log.laggards():
                slow.part()
            if not log.position % FORGET_EVERY and self.shared.partings:
                self.shared.forget_parting()

    def _move(self, log: BookLog, at: int) -> None:
        self.cursor = at
        if at > log.witness.agreed_to and log.source(at) is not self:
            log.witness.agreed_to = at


def _same(known: BookData, data: BookData) -> bool:
    # Decoded once for all lines, it usually is the same object; and what differs usually does in its time.
    return known is data or (known.timestamp == data.timestamp and known == data)


class SharedBooks:
    """The books of all symbols, each shared by the lines that want it."""

    def __init__(self) -> None:
        self._books: dict[tuple[str, int], tuple[SharedBook, int]] = {}

    def replica(self, symbol: str, depth: int) -> Replica:
        """Return a new line's book of ``symbol``; it is to be given back."""
        shared, users = self._books.get((symbol, depth)) or (SharedBook(symbol, depth), 0)
        self._books[symbol, depth] = (shared, users + 1)
        return Replica(shared)

    def give_back(self, replica: Replica) -> None:
        """A line does not want a book any more."""
        replica.clear()
        shared = replica.shared
        place = (shared.symbol, shared.depth)
        users = self._books[place][1] - 1
        if users:
            self._books[place] = (shared, users)
        else:
            del self._books[place]
