"""Secrets that a file names: taken from the environment when a step starts."""

from __future__ import annotations

from collections.abc import Mapping

from sbkube.apps.fields import FromEnv, Secret
from sbkube.errors import Position, SbkubeError


class CredentialMissing(SbkubeError):
    def __init__(self, field: str, variable: str, where: Position) -> None:
        super().__init__(
            f"`{field}` comes from the environment variable {variable!r}, which is not set",
            hint=f"`export {variable}=…` before the run",
            where=where,
        )


def revealed(secret: Secret | None, field: str, environ: Mapping[str, str], where: Position) -> str | None:
    """Raises `CredentialMissing`, which says `field` for what it is."""
    if not isinstance(secret, FromEnv):
        return secret
    if secret.from_env not in environ:
        raise CredentialMissing(field, secret.from_env, where)
    return environ[secret.from_env]
