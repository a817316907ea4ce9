"""One thing that was looked at, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sbkube.errors import SbkubeError

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`about` is a word: `helm`, `rights`. A problem is what a run would stumble over."""

    verdict: Verdict
    about: str
    told: str
    fix: str | None = None


def ok(about: str, told: str) -> Diagnosis:
    return Diagnosis("ok", about, told)


def warning(about: str, told: str, fix: str | None = None) -> Diagnosis:
    return Diagnosis("warning", about, told, fix)


def problem(about: str, told: str, fix: str | None = None) -> Diagnosis:
    return Diagnosis("problem", about, told, fix)


def of_error(about: str, error: SbkubeError) -> Diagnosis:
    where = f"{error.where}: " if error.where is not None else ""
    return problem(about, f"{where}{error.message}", error.hint)
