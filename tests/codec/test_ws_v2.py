"""Every kind of frame decodes field for field, and whatever is none says where it is wrong."""

from __future__ import annotations

import pytest
from tests import strategies_frames as frames

from kraken_engine.codec.caps import MAX_DEPTH
from kraken_engine.codec.ws_v2 import (
    Ack,
    BookMessage,
    Decoder,
    HeartbeatMessage,
    InstrumentMessage,
    Level,
    OhlcMessage,
    Pong,
    StatusMessage,
    TickerMessage,
    TradeMessage,
    UnknownMessage,
    decode_pair,
)
from kraken_engine.errors import DecodeError


def refused(frame: bytes, **options: int) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        Decoder(**options).decode(frame)
    return caught.value


def test_numbers_of_a_book_keep_their_digits() -> None:
    message = Decoder().decode(frames.SNAPSHOT)
    assert isinstance(message, BookMessage)
    (data,) = message.data
    assert (message.type, data.symbol, data.checksum, data.timestamp) == ("snapshot", "GST/USD", 1931231958, None)
    assert data.bids == [Level(b"0.016", b"255965.95133811"), Level(b"0.010", b"211909.56878553")]


def test_an_integer_number_is_an_int() -> None:
    message = Decoder().decode(frames.UPDATE.replace(b"63502.0", b"63502"))
    assert isinstance(message, BookMessage)
    assert message.data[0].asks[0].price == 63502


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (frames.UPDATE, BookMessage),
        (frames.TICKER, TickerMessage),
        (frames.TRADE, TradeMessage),
        (frames.OHLC, OhlcMessage),
        (frames.INSTRUMENT, InstrumentMessage),
        (frames.STATUS, StatusMessage),
        (frames.HEARTBEAT, HeartbeatMessage),
        (frames.PONG, Pong),
        (frames.ACK, Ack),
        (frames.REFUSAL, Ack),
        (frames.PRIVATE_REFUSAL, Ack),
        (frames.EXECUTIONS, UnknownMessage),
    ],
)
def test_each_kind_of_frame_is_recognised(frame: bytes, kind: type) -> None:
    assert type(Decoder().decode(frame)) is kind
    assert type(Decoder().decode(b" \r\n" + frame.replace(b",", b" , "))) is kind, "white space is not ours to judge"


def test_a_connection_id_may_use_all_64_bits_and_no_more() -> None:
    message = Decoder().decode(frames.STATUS)
    assert isinstance(message, StatusMessage)
    assert message.data[0].connection_id == 18125794168470749634
    top = frames.STATUS.replace(b"18125794168470749634", b"18446744073709551615")
    assert isinstance(Decoder().decode(top), StatusMessage)
    assert refused(frames.STATUS.replace(b"18125794168470749634", b"18446744073709551616")).path == "$.data[0]"


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            frames.ACK,
            Ack(
                method="subscribe",
                success=True,
                req_id=11,
                channel="book",
                symbol="BTC/USD",
                depth=10,
                time_in="2024-05-19T16:27:13Z",
                warnings=("this is deprecated",),
            ),
        ),
        (
            frames.REFUSAL,
            Ack(method="subscribe", success=False, symbol="XBT/USD", error="Currency pair not supported XBT/USD"),
        ),
        (
            frames.PRIVATE_REFUSAL,
            Ack(method="subscribe", success=False, channel="executions", error="ESession:Invalid session"),
        ),
        (
            b'{"method":"subscribe","success":true,"req_id":121,"result":{"channel":"ohlc","interval":60,"symbol":"A/B"}}',
            Ack(method="subscribe", success=True, req_id=121, channel="ohlc", symbol="A/B", interval=60),
        ),
        (
            b'{"method":"subscribe","success":true,"result":{"channel":"ticker","event_trigger":"bbo","symbol":"A/B"}}',
            Ack(method="subscribe", success=True, channel="ticker", symbol="A/B", event_trigger="bbo"),
        ),
        (
            b'{"method":"batch_add","success":true,"req_id":7,"result":[{"order_id":"X"},{"order_id":"Y"}]}',
            Ack(method="batch_add", success=True, req_id=7),
        ),
        (
            b'{"method":"subscribe","success":false,"error":"no","result":{"channel":"book","symbol":"A/B"}}',
            Ack(method="subscribe", success=False, channel="book", symbol="A/B", error="no"),
        ),
        (
            b'{"error":"Unsupported field","method":"ping","req_id":0,"success":false}',
            Ack(method="ping", success=False, req_id=0, error="Unsupported field"),
        ),
        (
            b'{"channel":"book","method":"subscribe","success":false}',
            Ack(method="subscribe", success=False, channel="book"),
        ),
        (b'{"method":"x","success":true,"result":null,"error":null}', Ack(method="x", success=True)),
    ],
)
def test_a_reply_decodes_to_its_fields(frame: bytes, expected: Ack) -> None:
    assert Decoder().decode(frame) == expected


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (b'"checksum":1007031556', b'"checksum":"1007031556"', "$.data[0].checksum"),
        (b'"checksum":1007031556', b'"checksum":4294967296', "$.data[0].checksum"),
        (b'"checksum":1007031556', b'"checksum":1007031556.0', "$.data[0].checksum"),
        (b'"checksum":1007031556,', b"", "$.data[0].checksum"),
        (b',"qty":0.01573311', b"", "$.data[0].asks[0].qty"),
        (b'"bids":[]', b'"bids":null', "$.data[0].bids"),
        (b'"bids":[],', b"", "$.data[0].bids"),
        (b'"symbol":"BTC/USD"', b'"symbol":5', "$.data[0].symbol"),
        (b'"type":"update"', b'"type":"rumour"', "$.type"),
        (b'"type":"update",', b"", "$.type"),
        (b'"data":[', b'"data":[5,', "$.data[0]"),
        (b"63502.0", b"63502.", "$"),
        (b"63502.0", b"NaN", "$"),
        (b"63502.0", b"Infinity", "$"),
        (b"63502.0", b"063502.0", "$"),
    ],
)
def test_a_fault_is_named_with_its_path(old: bytes, new: bytes, path: str) -> None:
    assert old in frames.UPDATE
    assert refused(frames.UPDATE.replace(old, new)).path == path


@pytest.mark.parametrize(
    ("frame", "path"),
    [
        (b"", "$"),
        (b"   ", "$"),
        (b"[]", "$"),
        (b"5", "$"),
        (b'"book"', "$"),
        (b"{}", "$"),
        (b'{"channel":5}', "$"),
        (b'{"channel":null,"type":"update"}', "$"),
        (b'{"x":1}', "$"),
        (frames.UPDATE[:-1], "$"),
        (frames.UPDATE + b"x", "$"),
        (b"\xef\xbb\xbf" + frames.UPDATE, "$"),
        (b'{"channel":"heartbeat","x":"\xff"}', "$"),
        (b'{"channel":"\xff"}', "$"),
        (b'{"channel":"\\ud800"}', "$"),
        (b'{"channel":"heartbeat","x":"\\udc00"}', "$"),
        (b'{"method":"subscribe"}', "$.success"),
        (b'{"method":"subscribe","params":{"channel":"book"}}', "$.success"),
        (b'{"method":"subscribe","success":"yes"}', "$.success"),
        (b'{"method":"pong","req_id":"1"}', "$.req_id"),
        (b'{"method":"pong","req_id":1.5}', "$.req_id"),
        (b'{"method":"pong","req_id":9223372036854775808}', "$.req_id"),
        (b'{"method":"subscribe","success":true,"result":{"depth":"10"}}', "$.result.depth"),
        (b'{"method":"subscribe","success":true,"result":{"warnings":[1]}}', "$.result.warnings[0]"),
        (b'{"method":"subscribe","success":true,"success":false}', "$"),
        (b'{"method":"x","success":true,"result":' + b'"' + b"x" * 70_000 + b'"}', "$"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_message_is_refused(frame: bytes, path: str) -> None:
    assert refused(frame).path == path


def test_the_proxys_plain_text_is_refused_in_so_many_words() -> None:
    error = refused(b"CloudFlare WebSocket proxy restarting")
    assert error.path == "$"
    assert "CloudFlare WebSocket proxy restarting" in error.got


def test_a_frame_longer_than_the_cap_is_refused_before_it_is_parsed() -> None:
    assert "at most 1000 bytes" in str(refused(b"x" * 1001, max_bytes=1000))
    assert isinstance(Decoder(max_bytes=1000).decode(frames.TICKER), TickerMessage)


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_beyond_the_cap_is_refused(brackets: tuple[bytes, bytes]) -> None:
    def nested(levels: int) -> bytes:
        padding = b'"padding":"' + b"x" * 600 + b'"'  # long enough for the look before parsing
        deep = brackets[0] * levels + b"1" + brackets[1] * levels
        return b'{"channel":"heartbeat",' + padding + b',"x":' + deep + b"}"

    assert isinstance(Decoder(sample_every=10).decode(nested(MAX_DEPTH - 1)), HeartbeatMessage)
    assert "nesting" in str(refused(nested(MAX_DEPTH)))
    assert "nesting" in str(refused(nested(100_000)))


def test_a_short_frame_may_not_nest_deep_where_it_is_looked_at() -> None:
    deep = b'{"channel":"heartbeat","x":' + b"[" * 200 + b"]" * 200 + b"}"
    decoder = Decoder(sample_every=2)
    with pytest.raises(DecodeError, match="nesting"):
        decoder.decode(deep)
    assert isinstance(decoder.decode(deep), HeartbeatMessage), "skipped unread, in an unknown field"
    assert "nesting" in str(refused(deep.replace(b'"channel":"heartbeat"', b'"method":"x","success":true')))


def test_a_number_as_string_or_null_is_left_to_the_conversion() -> None:
    message = Decoder().decode(frames.UPDATE.replace(b"63502.0", b'"63502.0"'))
    assert isinstance(message, BookMessage)
    assert message.data[0].asks[0].price == "63502.0"


def test_unknown_fields_are_tolerated_and_counted() -> None:
    decoder = Decoder(sample_every=1)
    frame = frames.UPDATE.replace(b'"price"', b'"colour":{"red":1},"price"').replace(b'"type"', b'"seq":5,"type"')
    for _ in range(3):
        assert isinstance(decoder.decode(frame), BookMessage)
    assert decoder.unknown_fields == {"book.seq": 3, "book.data.asks.colour": 3}


def test_known_fields_are_not_counted() -> None:
    decoder = Decoder(sample_every=1)
    for frame in frames.FRAMES:
        decoder.decode(frame)
    assert decoder.unknown_fields == {}


def test_one_frame_in_so_many_is_sampled_the_first_included() -> None:
    decoder = Decoder(sample_every=10)
    for _ in range(21):
        decoder.decode(b'{"channel":"heartbeat","new":1}')
    assert decoder.unknown_fields == {"heartbeat.new": 3}


def test_a_key_sent_twice_is_refused_where_it_is_looked_for() -> None:
    frame = frames.UPDATE.replace(b'"price":63502.0', b'"price":1.0,"price":63502.0')
    decoder = Decoder(sample_every=2)
    with pytest.raises(DecodeError, match="'price' twice"):
        decoder.decode(frame)
    message = decoder.decode(frame)
    assert isinstance(message, BookMessage)
    assert message.data[0].asks[0].price == b"63502.0", "not looked for: the last one counts"


def test_unknown_channels_are_counted() -> None:
    decoder = Decoder()
    assert decoder.decode(frames.EXECUTIONS) == UnknownMessage(channel="executions")
    assert decoder.decode(b'{"channel":"level4","data":[NaN]}'.replace(b"NaN", b"1")) == UnknownMessage(
        channel="level4"
    )
    decoder.decode(frames.EXECUTIONS)
    assert decoder.unknown_channels == {"executions": 2, "level4": 1}


def test_hostile_names_are_bounded_and_made_safe() -> None:
    decoder = Decoder(sample_every=1)
    for number in range(500):
        decoder.decode(b'{"channel":"x\\n\\"%d%s"}' % (number, b"y" * 500))
        decoder.decode(b'{"channel":"heartbeat","x\\u0000}%d":1}' % number)
    for counts in (decoder.unknown_channels, decoder.unknown_fields):
        assert len(counts) == 65
        assert sum(counts.values()) == 500
        assert all(len(name) <= 64 for name in counts)
        assert not any(set(name) & set('\n"\x00{}') for name in counts)


def test_a_bad_pair_is_refused_alone() -> None:
    message = Decoder().decode(frames.INSTRUMENT.replace(b'"pairs":[', b'"pairs":[{"symbol":"A/B","base":1},'))
    assert isinstance(message, InstrumentMessage)
    bad, good = message.data.pairs
    assert decode_pair(good, "$.data.pairs[1]").symbol == "EUR/USD"
    with pytest.raises(DecodeError) as caught:
        decode_pair(bad, "$.data.pairs[0]")
    assert caught.value.path == "$.data.pairs[0].base"


def test_the_decoder_forgets_nothing_between_frames() -> None:
    decoder = Decoder()
    for frame in frames.FRAMES:
        with pytest.raises(DecodeError):
            decoder.decode(frame[:-2])
        assert decoder.decode(frame) == Decoder().decode(frame)
