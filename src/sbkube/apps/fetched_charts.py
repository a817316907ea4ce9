"""What charts from repositories and from registries have in common: what opens their servers, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from sbkube.apps.charts import take_chart
from sbkube.apps.secrets import revealed
from sbkube.apps.work import Place, ServerEntry, Work
from sbkube.documents import parse, read_text
from sbkube.errors import ConfigError, SbkubeError
from sbkube.fetch.addresses import redacted
from sbkube.fetch.errors import Mismatch
from sbkube.fetch.lockfile import Pin

if TYPE_CHECKING:
    from sbkube.fetch.access import Access
    from sbkube.fetch.repositories import FetchedChart


def access_of(entry: ServerEntry, at: tuple[str, str], place: Place, environ: Mapping[str, str]) -> Access:
    """`at`: where the entry stands in the settings. Raises `CredentialMissing`."""
    from sbkube.fetch.access import Access

    username, password = (
        revealed(secret, ".".join((*at, field)), environ, place.where_setting(*at, field))
        for field, secret in (("username", entry.username), ("password", entry.password))
    )

    def file(written: str | None) -> Path | None:
        return None if written is None else place.folder / Path(written).expanduser()

    return Access(
        username,
        password,
        ca_file=file(entry.ca_file),
        cert_file=file(entry.cert_file),
        key_file=file(entry.key_file),
        insecure=entry.insecure_skip_tls_verify,
    )


def pin_of(fetched: FetchedChart) -> Pin:
    return Pin(fetched.url, fetched.version, fetched.digest)


def told_by_lock(error: SbkubeError, place: Place, pin: Pin | None) -> SbkubeError:
    """What is not what was pinned has a way out."""
    if pin is not None and isinstance(error, Mismatch):
        error.hint = (
            f"the lock file has the first; `sbkube lock --upgrade {place.name}` takes what is there now"
        )
    return error


async def keep_chart(fetched: FetchedChart, chart: str, work: Work) -> None:
    """As the output of the stage; `chart` is what the config says."""
    shown = redacted(chart)
    await run_sync(take_chart, fetched.path, work.out / "chart", shown, work.place.where("chart"))
    version = fetched.version or await run_sync(_version_in, work.out / "chart")
    source = fetched.url if fetched.is_new else f"the cache, once fetched from {fetched.url}"
    await work.log(
        f"chart {shown}{f' {version}' if version else ''} from {source} (SHA-256 {fetched.digest})"
    )
    work.context.metadata.update({"version": version, "url": fetched.url, "sha256": fetched.digest})


def _version_in(chart: Path) -> str | None:
    """Of a chart that came without an index; what is wrong with its metadata is told when it is built."""
    try:
        version = parse(read_text(chart / "Chart.yaml"), file=chart / "Chart.yaml").mapping().get("version")
    except ConfigError:
        return None
    return None if version is None else str(version)
