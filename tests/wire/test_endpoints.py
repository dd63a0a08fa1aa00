from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.errors import ConfigError
from kraken_engine.wire.endpoints import Endpoint, parse_endpoint


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("wss://ws.kraken.com/v2", Endpoint("ws.kraken.com", 443, "/v2", tls=True)),
        ("ws://127.0.0.1:8080", Endpoint("127.0.0.1", 8080, "/", tls=False)),
        ("wss://[::1]:9/x?a=b", Endpoint("::1", 9, "/x?a=b", tls=True)),
        ("WSS://WS.Kraken.com:443/V2", Endpoint("ws.kraken.com", 443, "/V2", tls=True)),
    ],
)
def test_an_endpoint_has_every_part_of_its_url(url: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(url) == endpoint


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://ws.kraken.com/v2", "scheme"),
        ("ws.kraken.com/v2", "scheme"),
        ("wss:///v2", "host"),
        ("wss://-bad-/v2", "host"),
        ("wss://300.1.1.1/v2", "host"),
        ("wss://[fe80::1%eth0]/v2", "host"),
        ("wss://h:0/v2", "port"),
        ("wss://h:65536/v2", "ort"),
        ("wss://h:x/v2", "ort"),
        ("wss://h/v2#top", "fragment"),
        ("wss://h/v2#", "fragment"),
        ("wss://h/a b", "spaces"),
        ("wss://h/\r\nX-Evil: 1", "printable"),
        ("wss://köln/v2", "ASCII"),
        ("wss://[::1/v2", "IPv6"),
        ("wss://h/" + "x" * 3000, "characters"),
    ],
)
def test_a_wrong_url_is_a_config_error_that_names_the_part(url: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_endpoint(url)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_endpoint("wss://me:hunter2@h/v2")
    assert "hunter2" not in str(caught.value)


LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
HOSTS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=4).map(".".join),
    st.ip_addresses().filter(lambda a: "%" not in str(a)).map(str),
)


@given(HOSTS, st.integers(1, 65535), st.from_regex(r"/[a-z0-9/]{0,20}(\?[a-z=&]{1,9})?", fullmatch=True), st.booleans())
def test_the_url_of_an_endpoint_parses_to_the_same_endpoint(host: str, port: int, path: str, tls: bool) -> None:
    endpoint = Endpoint(host, port, path, tls)
    assert parse_endpoint(endpoint.url) == endpoint
    assert str(endpoint) == endpoint.url


@given(st.text(max_size=60) | st.text(max_size=40).map("wss://".__add__))
def test_any_text_is_an_endpoint_or_a_config_error(text: str) -> None:
    try:
        endpoint = parse_endpoint(text)
    except ConfigError:
        return
    assert parse_endpoint(endpoint.url) == endpoint
