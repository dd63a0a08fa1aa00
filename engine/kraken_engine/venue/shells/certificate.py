"""A throw-away certificate authority and server certificate, so that the venue can speak TLS on the loopback interface.

Both are made afresh on every start. The authority goes to a file for clients to trust; its key stays in memory.
"""

from __future__ import annotations

import ssl

import attrs

from kraken_engine.errors import ConfigError
from kraken_engine.runtime import Files

__all__ = ["Certificate", "make_certificate"]


@attrs.frozen(kw_only=True)
class Certificate:
    """What a TLS server needs, and what its clients need."""

    ca_file: str
    """PEM file with the authority to trust."""
    context: ssl.SSLContext
    """Server side, TLS 1.2 or newer."""


def make_certificate(files: Files, directory: str, host: str) -> Certificate:
    """Make a certificate for ``host`` and ``localhost`` and write ``ca.pem`` and ``server.pem`` to ``directory``.

    Raises:
        ConfigError: trustme is not installed, or the directory cannot be written.
    """
    try:
        import trustme  # noqa: PLC0415  # an extra: only who asks for TLS needs it
    except ImportError:
        raise ConfigError("tls_dir: TLS needs trustme: install kraken-engine[cli]") from None
    authority = trustme.CA()
    issued = authority.issue_cert(host, "localhost")
    ca_file = f"{directory}/ca.pem"
    server_file = f"{directory}/server.pem"
    try:
        files.make_directory(directory)
        files.write_private(ca_file, authority.cert_pem.bytes())
        files.write_private(server_file, issued.private_key_and_cert_chain_pem.bytes())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(server_file)
    except OSError as error:
        raise ConfigError(f"tls_dir: cannot write certificates to {directory!r}: {error}") from None
    return Certificate(ca_file=ca_file, context=context)
