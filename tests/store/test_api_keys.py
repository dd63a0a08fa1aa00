"""A key is taken only from where nobody else can read or exchange it, and no message repeats any of it."""

from __future__ import annotations

import base64
import os
import traceback
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest

from kraken_engine.config import AccountSettings
from kraken_engine.errors import ConfigError
from kraken_engine.runtime import Runtime, real_runtime
from kraken_engine.secret import ApiKey, Secret
from kraken_engine.sim.disk import DiskFault, SimDisk
from kraken_engine.store.api_keys import load_api_key, load_emergency_key

KEY = "canaryKEY" + "x" * 47
SECRET = base64.b64encode(b"canary secret " * 4).decode()
OTP = "canary-otp-77"
FILE = f"# of the account main\nkey = {KEY}\nsecret={SECRET}\n\n otp = {OTP}\n".encode()
PREFIX = "KRAKEN_ENGINE_ACCOUNTS__MAIN__"


def on_disk(disk: SimDisk, environment: Mapping[str, str] | None = None) -> Runtime:
    return attrs.evolve(real_runtime(), files=disk, environment=environment or {})


def from_environment(**variables: str) -> ApiKey:
    environment = {PREFIX + name: value for name, value in variables.items()}
    return load_api_key(on_disk(SimDisk(), environment), AccountSettings())


def from_file(content: bytes) -> ApiKey:
    disk = SimDisk()
    disk.write_private("/main.key", content)
    return load_api_key(on_disk(disk), AccountSettings(key_file="/main.key"))


def refusal(call: object, *arguments: object) -> str:
    """Return the message of the ConfigError, once it is certain that nothing of a key can be seen anywhere in it."""
    with pytest.raises(ConfigError) as refused:
        call(*arguments)  # type: ignore[operator]
    seen = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    ours = [frame.locals or {} for frame in seen.stack if "kraken_engine" in frame.filename]
    assert ours
    shown = f"{refused.value!r} {refused.value} {[values for values in ours if 'environment' not in values]}"
    assert not any(part in shown for part in (KEY, SECRET, OTP, "canary"))
    assert refused.value.__cause__ is None
    return str(refused.value)


def test_a_key_comes_from_a_file_of_named_lines() -> None:
    key = from_file(FILE)
    assert (key.key, key.secret, key.otp) == (Secret(KEY), Secret(SECRET), Secret(OTP))


def test_a_key_comes_from_the_environment_where_no_file_is_named() -> None:
    key = from_environment(KEY=KEY, SECRET=SECRET)
    assert (key.key, key.secret, key.otp) == (Secret(KEY), Secret(SECRET), None)
    assert from_environment(KEY=KEY, SECRET=SECRET, OTP=f" {OTP}\n").otp == Secret(OTP)


def test_an_emergency_key_is_another_key_or_none() -> None:
    runtime = on_disk(SimDisk(), {PREFIX + "EMERGENCY_KEY": "other", PREFIX + "EMERGENCY_SECRET": SECRET})
    found = load_emergency_key(runtime, AccountSettings())
    assert found is not None
    assert found.key == Secret("other")
    assert load_emergency_key(on_disk(SimDisk()), AccountSettings()) is None
    disk = SimDisk()
    disk.write_private("/e.key", FILE)
    found = load_emergency_key(on_disk(disk), AccountSettings(emergency_key_file="/e.key"))
    assert found is not None
    assert found.otp == Secret(OTP)


def test_the_names_of_accounts_keep_their_variables_apart() -> None:
    environment = {"KRAKEN_ENGINE_ACCOUNTS__SPOT_2__KEY": "k2", "KRAKEN_ENGINE_ACCOUNTS__SPOT_2__SECRET": SECRET}
    assert load_api_key(on_disk(SimDisk(), environment), AccountSettings(name="spot_2")).key == Secret("k2")
    message = refusal(load_api_key, on_disk(SimDisk(), environment), AccountSettings(name="spot"))
    assert message == ("account spot: expected a key, got neither key_file nor KRAKEN_ENGINE_ACCOUNTS__SPOT__KEY")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ["/main.key: key: expected a value, got none", "/main.key: secret: expected a value, got none"]),
        (f"key = {KEY}\n".encode(), ["/main.key: secret: expected a value, got none"]),
        (
            f"{KEY}\n{SECRET}\n".encode(),
            [f"/main.key:{n}: expected key, secret or otp, = and a value, got something not shown" for n in (1, 2)],
        ),
        (
            f"key = {KEY}\nsecret =\n".encode(),
            ["/main.key:2: expected key, secret or otp, = and a value, got something not shown"],
        ),
        (f"key={KEY}\nkey={KEY}\nsecret={SECRET}\n".encode(), ["/main.key:2: expected key once, got it twice"]),
        (
            f"key={KEY}\nsecret=canary!\n".encode(),
            ["/main.key: secret: expected base64, got 7 characters that are not, not shown"],
        ),
        (
            f"key={KEY}\nsecret=Y2FuYXJ5\n".encode(),
            ["/main.key: secret: expected at least 16 bytes in base64, got 6, not shown"],
        ),
        (
            f"key={KEY} x\nsecret={SECRET}\n".encode(),
            ["/main.key: key: expected printable ASCII without blanks, got something else, not shown"],
        ),
        (
            b"key=canary\xff\nsecret=" + SECRET.encode(),
            ["/main.key: key: expected printable ASCII without blanks, got something else, not shown"],
        ),
        (
            b"key=" + b"c" * 600 + b"\nsecret=" + SECRET.encode(),
            ["/main.key: key: expected at most 512 characters, got 600, not shown"],
        ),
        (b"#" * 5000, ["/main.key: expected less than 4096 bytes, got more"]),
    ],
)
def test_what_is_wrong_with_a_key_file_is_named_by_its_line_and_not_repeated(
    content: bytes, expected: list[str]
) -> None:
    assert refusal(from_file, content).splitlines() == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"KEY": KEY}, f"{PREFIX}SECRET: expected a value, got none"),
        ({"SECRET": SECRET}, f"{PREFIX}KEY: expected a value, got none"),
        (
            {"KEY": "canary\udcff", "SECRET": SECRET},
            f"{PREFIX}KEY: expected printable ASCII without blanks, got something else, not shown",
        ),
        ({"KEY": " ", "SECRET": ""}, f"account main: expected a key, got neither key_file nor {PREFIX}KEY"),
    ],
)
def test_what_is_wrong_with_the_environment_is_named_by_its_variable(variables: dict[str, str], expected: str) -> None:
    assert refusal(lambda: from_environment(**variables)) == expected


def test_only_a_file_that_is_ours_alone_is_read() -> None:
    disk = SimDisk()
    disk.write_private("/main.key", FILE)
    settings = AccountSettings(key_file="/main.key")
    refusals: dict[int, str] = {}
    for mode in range(0o1000):
        disk.give("/main.key", mode=mode)
        try:
            load_api_key(on_disk(disk), settings)
        except ConfigError as error:
            refusals[mode] = str(error)
    assert set(range(0o1000)) - set(refusals) == {0o000, 0o200, 0o400, 0o600}
    for mode, message in refusals.items():
        assert message == f"/main.key: expected mode 0600 or stricter, got {mode:04o}: run chmod 600 on it"


@pytest.mark.parametrize(
    ("file_owner", "directory_owner", "directory_mode", "expected"),
    [
        (1000, 1000, 0o700, None),
        (1000, 1000, 0o755, None),
        (1000, 0, 0o755, None),
        (0, 1000, 0o700, "/k/main.key: expected a file of user 1000, got one of user 0"),
        (1001, 1000, 0o700, "/k/main.key: expected a file of user 1000, got one of user 1001"),
        (1000, 1001, 0o700, "/k/main.key: expected a directory of user 1000 or root, got one of user 1001"),
        (
            1000,
            1000,
            0o777,
            "/k/main.key: expected a directory that not everybody may write to, got mode 0777 (/k)",
        ),
        (
            1000,
            0,
            0o1777,
            "/k/main.key: expected a directory that not everybody may write to, got mode 1777 (/k)",
        ),
    ],
)
def test_file_and_directory_belong_to_whom_they_should(
    file_owner: int, directory_owner: int, directory_mode: int, expected: str | None
) -> None:
    disk = SimDisk()
    disk.make_directory("/k")
    disk.write_private("/k/main.key", FILE)
    disk.give("/k/main.key", owner=file_owner)
    disk.give("/k", owner=directory_owner, mode=directory_mode)
    settings = AccountSettings(key_file="/k/main.key")
    if expected is None:
        assert load_api_key(on_disk(disk), settings).key == Secret(KEY)
    else:
        assert refusal(load_api_key, on_disk(disk), settings) == expected


def test_nothing_is_read_of_a_file_that_others_can_read() -> None:
    disk = SimDisk()
    disk.write_private("/main.key", FILE)
    disk.give("/main.key", mode=0o644)
    disk.fault = DiskFault.IO_ERROR
    assert "mode 0600" in refusal(load_api_key, on_disk(disk), AccountSettings(key_file="/main.key"))


# --- the same on a real disk, where links, pipes and directories exist --------------------------------------------


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    path = tmp_path / "main.key"
    path.write_bytes(FILE)
    path.chmod(0o600)
    return path


def load(path: Path) -> ApiKey:
    return load_api_key(attrs.evolve(real_runtime(), environment={}), AccountSettings(key_file=str(path)))


def test_a_real_file_of_mode_0600_or_0400_is_read(key_file: Path) -> None:
    assert load(key_file).secret == Secret(SECRET)
    key_file.chmod(0o400)
    assert load(key_file).secret == Secret(SECRET)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700, 0o644, 0o777, 0o610])
def test_a_real_file_of_any_wider_mode_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    assert refusal(load, key_file) == f"{key_file}: expected mode 0600 or stricter, got {mode:04o}: run chmod 600 on it"


def test_a_link_is_refused_whatever_it_leads_to(key_file: Path) -> None:
    link = key_file.with_name("link.key")
    link.symlink_to(key_file)
    assert refusal(load, link) == f"{link}: expected a key file, got a symbolic link"


def test_a_directory_and_a_pipe_are_refused_without_waiting(key_file: Path) -> None:
    directory, pipe = key_file.with_name("directory"), key_file.with_name("pipe")
    directory.mkdir(mode=0o600)
    os.mkfifo(pipe, mode=0o600)
    assert refusal(load, directory) == f"{directory}: expected a regular file, got a directory"
    assert refusal(load, pipe) == f"{pipe}: expected a regular file, got a device or a pipe"


def test_a_real_directory_that_everybody_may_write_to_is_refused(key_file: Path) -> None:
    key_file.parent.chmod(0o1777)
    expected = f"expected a directory that not everybody may write to, got mode 1777 ({key_file.parent})"
    assert refusal(load, key_file) == f"{key_file}: {expected}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.key"
    assert refusal(load, path) == f"{path}: expected a key file, cannot be read: No such file or directory"
