"""How a server is asked: who we are, whom we trust, and through which proxy."""

from __future__ import annotations

import base64
import ipaddress
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sbkube.errors import as_text
from sbkube.fetch.addresses import origin, redacted
from sbkube.fetch.errors import FetchError


@dataclass(frozen=True, slots=True)
class Access:
    """To one origin. Nothing here is shown when it is printed but what is no secret."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    insecure: bool = False
    trusts_system: bool = False
    """Whether the authorities of this machine count too where there is a `ca_file`."""

    @property
    def elsewhere(self) -> Access:
        """For another origin that this one names or redirects to: trusted in the same way, and told nothing."""
        return Access(ca_file=self.ca_file, insecure=self.insecure, trusts_system=True)

    @property
    def tells(self) -> dict[str, str]:
        """The headers that say who we are."""
        if self.username is None and self.password is None:
            return dict(self.headers)
        pair = f"{self.username or ''}:{self.password or ''}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}", **dict(self.headers)}

    def tls(self) -> ssl.SSLContext:
        """Blocking; raises `BadTlsFile`."""
        import httpcore2

        try:
            if self.insecure:
                context = _trusts_nobody()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            elif self.ca_file is None:
                context = httpcore2.default_ssl_context()
            else:
                context = httpcore2.default_ssl_context() if self.trusts_system else _trusts_nobody()
                context.load_verify_locations(self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ValueError) as error:
            raise BadTlsFile(self, error) from error
        return context


def _trusts_nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class BadTlsFile(FetchError):
    """One of `ca_file`, `cert_file` and `key_file` cannot be used."""

    def __init__(self, access: Access, error: Exception) -> None:
        files = {"ca_file": access.ca_file, "cert_file": access.cert_file, "key_file": access.key_file}
        named = [f"{name} {as_text(str(path))!r}" for name, path in files.items() if path is not None]
        missing = [
            f"there is no file {str(path)!r}" for path in files.values() if path and not path.is_file()
        ]
        why = "; ".join(missing) or getattr(error, "strerror", None) or str(error)
        super().__init__(f"TLS cannot be set up with {', '.join(named)}: {why}")


# Proxies


@dataclass(frozen=True, slots=True)
class Proxies:
    """URLs by the scheme of what is asked for, and the hosts that are asked directly."""

    http: str | None = field(default=None, repr=False)
    https: str | None = field(default=None, repr=False)
    no_proxy: tuple[str, ...] = ()

    def of(self, url: str) -> str | None:
        """Raises `BadProxy`."""
        scheme, host, port = origin(url)
        proxy = self.https if scheme == "https" else self.http
        if not proxy or any(_covers(entry.strip(), host, port) for entry in self.no_proxy):
            return None
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        with suppress(ValueError):
            if origin(proxy)[0] in ("http", "https"):
                return proxy
        raise BadProxy(proxy)


class BadProxy(FetchError):
    def __init__(self, proxy: str) -> None:
        super().__init__(
            f"{redacted(proxy)!r} is no proxy that can be used",
            hint="write it as http://host:port or https://host:port",
        )


def _covers(entry: str, host: str, port: int) -> bool:
    """`*`, a host with all below it, `host:port`, an address or a network of them."""
    if entry == "*":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    name, _, its_port = entry.lower().rpartition(":") if entry.count(":") == 1 else (entry.lower(), "", "")
    if not name or (its_port and its_port != str(port)):
        return False
    name = name.removeprefix("*").removeprefix(".")
    return host == name or host.endswith(f".{name}")


def told_proxy(proxy: str | None) -> str:
    return f" through the proxy {redacted(proxy)!r}" if proxy else ""
