"""A chart of an OCI registry: `oci://host/path/chart`, or `name of the registry/chart`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sbkube.apps.checks import failures
from sbkube.apps.fetched_charts import access_of, keep_chart, pin_of, told_by_lock
from sbkube.apps.fields import Path as FieldPath
from sbkube.apps.work import Asking, OciRegistryEntry, Place, Reading, Work
from sbkube.errors import SbkubeError
from sbkube.fetch.addresses import redacted
from sbkube.fetch.errors import FetchError
from sbkube.fetch.lockfile import Asks, Pin

if TYPE_CHECKING:
    from sbkube.fetch.fetching import Fetching
    from sbkube.fetch.oci_logins import Registry
    from sbkube.fetch.oci_references import Reference
    from sbkube.fetch.repositories import FetchedChart

OCI = "oci://"


def is_of_registry(chart: str, place: Place) -> bool:
    """A name that two kinds of repositories have means the one over HTTP, as it always did."""
    name = chart.partition("/")[0]
    return chart.startswith(OCI) or (name in place.oci_registries and name not in place.helm_repos)


def chart_reading(chart: str, version: str | None, place: Place) -> Reading:
    """What is asked for. Which version that is, and who asks, comes later."""
    try:
        reference = str(_named(chart, place)[0])
    except FetchError:
        return Reading({"chart": redacted(chart), "version": version})
    told = (
        reference
        if ":" in reference.rpartition("/")[2]
        else f"{reference} {version or 'of the newest version'}"
    )
    settings = {"chart": reference, "version": version}
    return Reading(settings, fetches=told, asks=_asks(reference, version))


def _asks(reference: str, version: str | None) -> Asks:
    return {"chart": reference, "version": version or "*"}


def check_chart_of_registry(chart: str, version: str | None, place: Place) -> Iterator[SbkubeError]:
    """What is wrong with it without asking anybody."""
    from sbkube.fetch.versions import parse_constraint

    def check() -> None:
        reference = _named(chart, place)[0]
        wanted = reference.agreed(version)
        if reference.digest is None or version is not None:
            parse_constraint(wanted or "*")

    for error in failures([check]):
        error.set_place(place.where(_said_by(error, version)))
        yield error


def unpinned_chart(chart: str, version: str | None) -> Iterator[tuple[FieldPath, str]]:
    """With the field that leads to it. A tag may be moved; whoever moves that of a version means to deceive."""
    from sbkube.fetch.oci_references import Reference
    from sbkube.fetch.versions import is_exact

    try:
        reference = Reference.of(chart)
        wanted = reference.agreed(version)
    except FetchError:
        return  # nothing is fetched by it at all
    if reference.digest is not None or (wanted is not None and is_exact(wanted)):
        return
    if version is None:
        yield ("chart",), chart
    else:
        yield ("version",), f"{chart} {version}"


async def take_chart_of_registry(chart: str, version: str | None, work: Work) -> None:
    fetched = await _fetched(chart, version, work.asking, follows=True)
    await keep_chart(fetched, chart, work)


async def resolve_chart_of_registry(chart: str, version: str | None, asking: Asking) -> Pin:
    return pin_of(await _fetched(chart, version, asking, follows=False))


async def _fetched(chart: str, version: str | None, asking: Asking, *, follows: bool) -> FetchedChart:
    """`follows`: what the lock file has."""
    from sbkube.fetch.oci_references import Reference

    place, pin = asking.place, None
    try:
        reference, name = _named(chart, place)
        registry = _registry(reference, name, place, asking.env)
        if follows and (pin := place.pin(_asks(str(reference), version))) is not None:
            reference, version = Reference.of(pin.url), None
        return await asking.fetch.registries.chart(reference, registry, version)
    except SbkubeError as error:
        told_by_lock(error, place, pin).set_place(place.where(_said_by(error, version)))
        raise


async def fetch_chart(chart: str, version: str | None, work: Work) -> FetchedChart:
    reference, name = _named(chart, work.place)
    registry = _registry(reference, name, work.place, work.env)
    return await work.fetch.registries.chart(reference, registry, version)


def asked_of_registry(chart: str, version: str | None, place: Place) -> tuple[Reference, str | None]:
    """With the version, from the tag or from what is wanted beside it. Raises `FetchError`."""
    reference = _named(chart, place)[0]
    return reference, reference.agreed(version)


async def versions_of_registry(
    chart: str, place: Place, environ: Mapping[str, str], fetch: Fetching
) -> list[str]:
    """The newest first."""
    reference, name = _named(chart, place)
    return await fetch.registries.versions(reference, _registry(reference, name, place, environ))


def _said_by(error: SbkubeError, version: str | None) -> str:
    """The field that is wrong."""
    from sbkube.fetch.oci_errors import NoSuchVersion, WrongPin
    from sbkube.fetch.versions import BadConstraint

    is_version = isinstance(error, NoSuchVersion | WrongPin | BadConstraint) and version is not None
    return "version" if is_version else "chart"


def _named(chart: str, place: Place) -> tuple[Reference, str | None]:
    """With the entry of `oci_registries` that opens it. Raises `FetchError`."""
    from sbkube.fetch.oci_references import Reference, nearest

    if not chart.startswith(OCI):
        name, _, path = chart.partition("/")
        return Reference.of(f"{place.oci_registries[name].registry}/{path}"), name
    reference = Reference.of(chart)
    places = {_place(entry): name for name, entry in place.oci_registries.items()}
    found = nearest(reference, places)
    return reference, None if found is None else places[found]


def _place(entry: OciRegistryEntry) -> str:
    return entry.registry.removeprefix(OCI)


def _registry(reference: Reference, name: str | None, place: Place, environ: Mapping[str, str]) -> Registry:
    """With what opens it."""
    from sbkube.fetch.oci_logins import Registry

    if name is None:
        return Registry()
    entry = place.oci_registries[name]
    return Registry(access_of(entry, ("oci_registries", name), place, environ), plain_http=entry.plain_http)
