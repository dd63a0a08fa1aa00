"""The private REST endpoints: who calls is checked here, what he asks for is looked up in ``accounts``.

The checks come in this order, each with the venue's words: the key, its lockout, the signature, the nonce, the call
counter, the second factor, the permission, the state of the venue, the arguments. A nonce is used up by every call with
a right signature, whatever becomes of it afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from kraken_engine.venue.core.accounts.access import ApiKey, Denied
from kraken_engine.venue.core.accounts.account import Account
from kraken_engine.venue.core.accounts.registry import Accounts, CallSeen
from kraken_engine.venue.core.ports import RestRequest, RestResponse
from kraken_engine.venue.core.rest_form import RestFailed, envelope, failure, read_fields

__all__ = ["Endpoint", "PrivateCall", "PrivateRest"]

PREFIX = "/0/private/"


@attrs.frozen(kw_only=True)
class PrivateCall:
    """One call that may be made."""

    account: Account
    key: ApiKey
    fields: Mapping[str, str]
    wall_ns: int


@attrs.frozen(kw_only=True)
class Endpoint:
    """One private endpoint."""

    answer: Callable[[PrivateCall], object]
    """Returns the result; raises ``RestFailed`` or ``Denied`` with the venue's words."""
    any_of: tuple[str, ...] = ()
    """The key needs one of these permissions; none: it needs none."""
    history: bool = False
    """Whether it costs as much as a call for ledgers or past trades."""
    counted: bool = True
    """Whether the REST call counter counts it; orders have counters of their own."""


class PrivateRest:
    """Answers the private calls."""

    def __init__(self, accounts: Accounts, groups: Sequence[Mapping[str, Endpoint]]) -> None:
        self._accounts = accounts
        self._endpoints = {name: endpoint for group in groups for name, endpoint in group.items()}

    def answer(self, request: RestRequest, wall_ns: int) -> RestResponse:
        """Answer one request."""
        if request.method != "POST":
            return failure("EGeneral:Unknown method", 405)
        key = self._accounts.api_keys.get(request.headers.get("api-key", ""))
        if key is None:
            return failure("EAPI:Invalid key")
        nonce = ""
        error: str | None = None
        try:
            fields = read_fields(request)
            nonce = fields.get("nonce", "")
            return envelope(self._result(key, request, fields, wall_ns))
        except (RestFailed, Denied) as refused:
            error = str(refused)
            return failure(error)
        finally:
            counter = self._accounts.counters[key.settings.key].value(wall_ns)
            call = CallSeen(
                wall_ns=wall_ns, key=key.settings.key, path=request.path, nonce=nonce, error=error, counter=counter
            )
            self._accounts.note(key.account, call)

    def _result(self, key: ApiKey, request: RestRequest, fields: Mapping[str, str], wall_ns: int) -> object:
        sign = request.headers.get("api-sign", "")
        key.check(request.path, fields.get("nonce", ""), request.body, sign, now_ns=wall_ns)
        account = self._accounts[key.account]
        endpoint = self._endpoints.get(request.path.removeprefix(PREFIX))
        if endpoint is None:
            raise RestFailed("EGeneral:Unknown method")
        if endpoint.counted:
            cost = account.settings.history_cost if endpoint.history else 1
            if not self._accounts.counters[key.settings.key].add(cost, wall_ns):
                raise RestFailed("EAPI:Rate limit exceeded")
        if key.settings.otp is not None and fields.get("otp") != key.settings.otp:
            raise RestFailed("EAPI:Invalid signature")  # the documents have no words of its own for a wrong password
        if not key.permits(endpoint.any_of):
            raise RestFailed("EGeneral:Permission denied")
        return endpoint.answer(PrivateCall(account=account, key=key, fields=fields, wall_ns=wall_ns))
