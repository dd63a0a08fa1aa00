"""A secret shows itself to nobody who does not ask for it by name, and few may ask."""

from __future__ import annotations

import ast
import base64
import copy
import gc
import json
import pickle
import pprint
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kraken_engine
from kraken_engine.errors import UsageError
from kraken_engine.secret import HIDDEN, ApiKey, Secret, redacted

PACKAGE = Path(kraken_engine.__file__).parent

MAY_REVEAL = {
    "secret.py",
    "store/api_keys.py",  # checks that a secret is base64
    "codec/signing.py",
    "codec/requests.py",  # the token of a private subscription
    "codec/trade_requests.py",
    "rest/headers.py",
}
"""Who signs or sends secrets. A file is added here on purpose, with what it needs the text for."""

PLAIN = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="


def reveals(tree: ast.AST) -> bool:
    """Whether a module names ``reveal``, or the slot behind it, in any way: as an attribute or in a text."""
    names = {"reveal", "_Secret__text"}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.Constant) and node.value in names)
        for node in ast.walk(tree)
    )


def test_only_those_who_sign_or_send_may_see_a_secret() -> None:
    found = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if reveals(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert "secret.py" in found
    assert found - MAY_REVEAL == set()


@pytest.mark.parametrize("text", ["s.reveal()", "f = s.reveal", "getattr(s, 'reveal')()", "s._Secret__text"])
def test_the_search_for_revealers_sees_each_way_to_do_it(text: str) -> None:
    assert reveals(ast.parse(text))
    assert not reveals(ast.parse("'it reveals nothing'; s.revealed"))


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        ascii,
        lambda s: f"{s}",
        lambda s: f"{s!r:>200}",
        lambda s: f"{s:>200}",
        lambda s: "{} {!r}".format(*[s, s]),
        lambda s: pprint.pformat({"a": [s]}),
        lambda s: str([s, (s,), {"k": s}]),
        lambda s: str(ValueError(s)),
        lambda s: str(attrs.asdict(ApiKey(key=s, secret=s, otp=s))),
        lambda s: repr(ApiKey(key=s, secret=s, otp=s)),
    ],
)
def test_every_way_to_show_a_secret_shows_a_placeholder(show: Callable[[Any], str]) -> None:
    shown = show(Secret(PLAIN))
    assert PLAIN not in shown
    assert HIDDEN in shown or "ApiKey(" in shown


@pytest.mark.parametrize(
    "take",
    [
        pickle.dumps,
        lambda s: pickle.dumps(s, protocol=0),
        copy.copy,
        copy.deepcopy,
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        msgspec.to_builtins,
        lambda s: pickle.dumps(ApiKey(key=s, secret=s)),
        lambda s: copy.deepcopy(ApiKey(key=s, secret=s)),
        lambda s: msgspec.json.encode(ApiKey(key=s, secret=s)),
        hash,
        lambda s: hash(ApiKey(key=s, secret=s)),
        lambda s: {s},
        bytes,
        list,
        len,
        sorted,
        lambda s: sorted([s, Secret("x")]),
        lambda s: s < Secret("x"),
        lambda s: s + "x",
        lambda s: "x" + s,
        lambda s: "".join([s]),
        vars,
        lambda s: s[0],
        lambda s: type("Leak", (Secret,), {}),
    ],
)
def test_every_other_way_to_take_a_secret_is_refused_without_showing_it(take: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError) as refused:
        take(Secret(PLAIN))
    assert PLAIN not in str(refused.value)


def test_equality_is_of_the_texts_and_never_with_a_text() -> None:
    assert Secret("abcdef") == Secret("abcdef")
    assert Secret("abcdef") != Secret("abcdeg")
    assert Secret("a") != Secret("abc")
    assert Secret("abcdef") != "abcdef"
    assert Secret("\udcff") == Secret("\udcff")


def test_only_the_owner_of_its_name_sees_it() -> None:
    assert Secret(PLAIN).reveal() == PLAIN


@pytest.mark.parametrize("value", ["", b"hunter2-bytes", None, 5, ["hunter2"]])
def test_what_is_no_secret_is_refused_and_not_repeated(value: Any) -> None:
    with pytest.raises(UsageError, match=r"^secret: expected a text, got ") as refused:
        Secret(value)
    shown = "".join(traceback.TracebackException.from_exception(refused.value, capture_locals=True).format())
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in shown.split("in __init__")[1]


def test_a_secret_cannot_be_changed() -> None:
    secret = Secret(PLAIN)
    with pytest.raises(AttributeError):
        secret.text = "x"  # type: ignore[attr-defined]


def test_a_fingerprint_names_a_key_and_tells_nothing_of_it() -> None:
    one = ApiKey(key=Secret("key one"), secret=Secret(PLAIN))
    same = ApiKey(key=Secret("key one"), secret=Secret("another"))
    other = ApiKey(key=Secret("key two"), secret=Secret(PLAIN))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert len(one.fingerprint) == 16
    assert int(one.fingerprint, 16) >= 0
    assert repr(one) == f"ApiKey({one.fingerprint})"


# --- redaction by value -------------------------------------------------------------------------------------------

FORMS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "url": lambda text: quote(text, safe=""),
    "url with slashes": quote,
    "form": quote_plus,
    "json": lambda text: json.dumps(text)[1:-1],
    "json with slashes escaped": lambda text: text.replace("/", "\\/"),
    "json, not only ASCII": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "repr": lambda text: repr(text)[1:-1],
    "repr of its bytes": lambda text: repr(text.encode())[2:-1],
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
}


@pytest.mark.parametrize("form", FORMS)
@given(text=st.text(min_size=6, max_size=60), before=st.text(max_size=8), after=st.text(max_size=8))
def test_a_living_secret_is_taken_out_in_every_usual_form(form: str, text: str, before: str, after: str) -> None:
    secret = Secret(text)
    written = FORMS[form](text)
    assert written not in redacted(before + written + after).replace(HIDDEN, "\0")
    assert secret == Secret(text)


@given(before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_a_secret_inside_base64_of_something_longer_is_taken_out_wherever_it_begins(
    before: bytes, after: bytes
) -> None:
    secret = Secret(PLAIN)
    shown = redacted(base64.b64encode(before + PLAIN.encode() + after).decode())
    assert HIDDEN in shown
    assert PLAIN[8:-8].encode() not in base64.b64decode(shown.split(HIDDEN)[0] + "==", validate=False)
    assert len(shown) < 60
    assert secret


def test_the_bytes_behind_a_base64_secret_are_taken_out_too() -> None:
    secret = Secret(PLAIN)
    data = base64.b64decode(PLAIN)
    assert redacted(f"hmac.new({data!r}, {data.hex()})") == f"hmac.new(b'{HIDDEN}', {HIDDEN})"
    assert secret


def test_a_secret_that_nobody_holds_any_more_is_forgotten() -> None:
    secret: Secret | None = Secret("a secret of a test, once")
    assert redacted("a secret of a test, once") == HIDDEN
    del secret
    gc.collect()
    assert redacted("a secret of a test, once") == "a secret of a test, once"


def test_short_texts_are_left_alone_and_so_is_everything_else() -> None:
    secret = Secret("BTC")
    assert redacted("BTC/USD at 5") == "BTC/USD at 5"
    assert secret
