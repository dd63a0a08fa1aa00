"""Accounts in the configuration: their settings are welcome, their keys are not.

Keys stand in the environment or in files of their own. One found in the configuration file is a mistake that says
where it belongs and does not repeat it, and neither is anything else repeated that stands where a key might.
"""

from __future__ import annotations

import re

from kraken_engine.config_rules import is_account_name
from kraken_engine.config_yaml import Document

__all__ = ["ACCOUNTS_PREFIX", "override_account", "take_out_keys"]

ACCOUNTS_PREFIX = "KRAKEN_ENGINE_ACCOUNTS__"
"""Variables of this name and two parts more: ``MAIN__TIER``, ``MAIN__KEY``."""
_KEY_PARTS = ("KEY", "SECRET", "OTP", "EMERGENCY_KEY", "EMERGENCY_SECRET", "EMERGENCY_OTP")
"""Last parts of environment variables that hold keys: their values are not read here."""
_NAME = re.compile(r"[A-Za-z]+([_-][A-Za-z]+)*")
"""What a setting might be called; a key that stands in its place has digits, or other signs."""
_KEY_NAMES = re.compile(r"(emergency_?|api_?|private_?|public_?)*(key|secret|otp|password|passphrase|sign|token)")


def override_account(document: Document, variable: str, text: str) -> None:
    """Take one setting of an account from the environment; a variable that holds a key only says that there is one."""
    name, _, key = variable.removeprefix(ACCOUNTS_PREFIX).partition("__")
    path = ("accounts", name.lower())
    if key not in _KEY_PARTS:
        document.override((*path, key.lower()), text, source=f"environment {variable}")
    elif path[1] not in document.values.setdefault("accounts", {}):
        document.override(path, "{}", source=f"environment {variable}")


def take_out_keys(document: Document) -> None:
    """Take keys, and everything that no account can be called, out of the document; each is a mistake."""
    accounts = document.values.get("accounts", {})
    for name in list(accounts):
        if not is_account_name(name):
            where = document.place(("accounts", name))
            document.mistake(where, "accounts: expected names such as main or spot_2, got one that is not shown")
            del accounts[name]
        elif accounts[name] is None:
            accounts[name] = {}
        elif not isinstance(accounts[name], dict):
            where = document.place(("accounts", name))
            document.mistake(where, f"accounts.{name}: expected keys and values, got something else, not shown")
            del accounts[name]
        else:
            for key in [key for key in accounts[name] if not _NAME.fullmatch(key)]:
                where = document.place(("accounts", name, key))
                document.mistake(where, f"accounts.{name}: expected names such as tier, got one that is not shown")
                del accounts[name][key]
            for key in [key for key in accounts[name] if _KEY_NAMES.fullmatch(key.lower())]:
                variable = f"{ACCOUNTS_PREFIX}{name.upper()}__{key.upper()}"
                advice = f"put it into a file that key_file names, or into {variable}"
                document.mistake(
                    document.place(("accounts", name, key)),
                    f"accounts.{name}.{key}: a key has no place here (not shown): {advice}",
                )
                del accounts[name][key]
