"""What a command line asks for, as a selection of steps. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sbkube.apps.base import STAGES
from sbkube.config.project import Project
from sbkube.engine import Selection
from sbkube.errors import ConfigError
from sbkube.planning import StagePlan


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line says about which steps to run."""

    resume: bool = False
    retry_failed: bool = False
    continue_from: str | None = None
    only: str | None = None
    from_step: str | None = None
    to_step: str | None = None
    apps: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    with_needs: bool = False
    rerun_interrupted: bool | tuple[str, ...] = False
    """Commands that were in flight when their process died: all, or those named."""

    @property
    def goes_on(self) -> bool:
        """With the latest run, rather than as a new one."""
        return bool(self.resume or self.retry_failed or self.continue_from)

    @property
    def is_partial(self) -> bool:
        return bool(self.only or self.from_step or self.to_step or self.apps or self.labels)


def selection(project: Project, stages: Sequence[StagePlan], asked: Asked) -> Selection:
    """Raises `ConfigError` for words that name no stage, app or label."""
    again = _continue_from(project, stages, asked.continue_from) if asked.continue_from else ()
    if not isinstance(asked.rerun_interrupted, bool):
        ids = [stage.id for stage in stages]
        for id in asked.rerun_interrupted:
            refuse_unknown_step(id, ids)
    if not asked.is_partial:
        return Selection(
            retry_failed=asked.retry_failed,
            continue_from=again,
            with_needs=asked.with_needs,
            rerun_interrupted=asked.rerun_interrupted,
        )
    apps = chosen_apps(project, asked)
    first, last = _stage_range(asked)
    chosen = [s for s in stages if s.app in apps]
    steps = frozenset(s.id for s in chosen if first <= _place(s) <= last)
    if first > last or not apps:
        raise ConfigError("nothing is selected: no step is all of what was asked for")
    return Selection(
        steps=steps,
        left_pending=frozenset(s.id for s in chosen if _place(s) > last),
        retry_failed=asked.retry_failed,
        continue_from=again,
        with_needs=asked.with_needs,
        rerun_interrupted=asked.rerun_interrupted,
    )


def _place(stage: StagePlan) -> int:
    """A gate comes with the deploys."""
    return STAGES.index(stage.stage or "deploy")


def _stage_range(asked: Asked) -> tuple[int, int]:
    first, last = 0, len(STAGES) - 1
    if asked.only:
        first = last = _stage(asked.only)
    if asked.from_step:
        first = max(first, _stage(asked.from_step))
    if asked.to_step:
        last = min(last, _stage(asked.to_step))
    return first, last


def _stage(word: str) -> int:
    if word not in STAGES:
        raise ConfigError(f"{word!r} is no stage; stages are {', '.join(STAGES)}", hint=nearest(word, STAGES))
    return STAGES.index(word)


def chosen_apps(project: Project, asked: Asked) -> set[str]:
    """Raises `ConfigError` for a name or a label that no app has."""
    for name in asked.apps:
        if name not in project.apps:
            raise ConfigError(
                f"there is no app {name!r} in {project.config_file}", hint=nearest(name, project.apps)
            )
    chosen = set(asked.apps) or set(project.apps)
    for label in (part for text in asked.labels for part in text.split(",")):
        matching = {name for name, app in project.apps.items() if _has_label(app.labels, label)}
        if not matching:
            known = sorted(
                {f"{key}={value}" for app in project.apps.values() for key, value in app.labels.items()}
            )
            raise ConfigError(f"no app has the label {label!r}", hint=nearest(label, known))
        chosen &= matching
    return chosen


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    if "!=" in wanted:
        key, _, value = wanted.partition("!=")
        return labels.get(key) != value
    key, equals, value = wanted.replace("==", "=").partition("=")
    return labels.get(key) == value if equals else key in labels


def _continue_from(project: Project, stages: Sequence[StagePlan], word: str) -> frozenset[str]:
    """A stage first, `name:` or a name that is no stage is an app, `app:stage` a step."""
    if word in STAGES:
        found = [s.id for s in stages if _place(s) >= STAGES.index(word)]
    elif word in {s.id for s in stages}:
        found = [word]
    else:
        found = [s.id for s in stages if s.app == word.removesuffix(":")]
    if not found:
        known = [*STAGES, *project.apps, *(s.id for s in stages)]
        raise ConfigError(f"{word!r} is no stage, app or step", hint=nearest(word, known))
    return frozenset(found)


def refuse_unknown_step(word: str, ids: Collection[str]) -> None:
    if word not in ids:
        of_app = [id for id in ids if id.startswith(f"{word}:")]
        hint = f"steps of {word!r} are: {', '.join(of_app)}" if of_app else nearest(word, ids)
        raise ConfigError(f"there is no step {word!r} in this project", hint=hint)


def nearest(word: str, known: Iterable[str]) -> str | None:
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(names[:12])}" if names else None
