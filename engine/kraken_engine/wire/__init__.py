"""Stage 1: bytes in and out. Connections, TLS, frames; failures of the network become typed errors here."""
