"""Certificates for loopback servers, from authorities that nobody else knows."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Authority:
    """With its files in a folder of its own."""

    folder: Path
    ca: trustme.CA

    @classmethod
    def make(cls, folder: Path) -> Authority:
        folder.mkdir(parents=True)
        authority = cls(folder, trustme.CA())
        authority.ca.cert_pem.write_to_path(str(authority.file))
        return authority

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def server(self, *, expired: bool = False, clients: Authority | None = None) -> ssl.SSLContext:
        """For 127.0.0.1 and localhost; with `clients`, whoever asks must have a certificate of theirs."""
        until = datetime.now(UTC) - timedelta(days=1) if expired else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("127.0.0.1", "localhost", not_after=until).configure_cert(context)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            clients.ca.configure_trust(context)
        return context

    def served(self) -> tuple[Path, Path]:
        """For a program that is a server: the files of its certificate and of the key."""
        return self._issued("server", "127.0.0.1", "localhost")

    def client(self, name: str = "sbkube@example.test") -> tuple[Path, Path]:
        """The files of a certificate and of its key."""
        return self._issued("client", name)

    def _issued(self, file: str, *names: str) -> tuple[Path, Path]:
        made = self.ca.issue_cert(*names)
        certificate, key = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        made.cert_chain_pems[0].write_to_path(str(certificate))
        made.private_key_pem.write_to_path(str(key))
        return certificate, key
