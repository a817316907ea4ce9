"""How help looks: options in groups, each by one name and in few words, and examples."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import asyncclick as click

RESUME = "Go on with the last run"
PART = "Only a part"
HOW = "How"
OUTPUT = "Output"
PROJECT = "Project"
_OTHER = "Other"
_ORDER = ("", RESUME, PART, HOW, OUTPUT, PROJECT, _OTHER)
_WIDEST = 40


class Option(click.Option):
    """`also` are names that are taken and not shown, as older versions had them."""

    def __init__(self, *args: Any, group: str = "", also: Sequence[str] = (), **kwargs: Any) -> None:
        names, *rest = args
        super().__init__([*names, *also], *rest, **kwargs)
        self.group = group
        self.also = frozenset(also)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        shown = copy.copy(self)
        shown.opts = [name for name in self.opts if name not in self.also]
        record = click.Option.get_help_record(shown, ctx)
        return None if record is None else (record[0].replace(" [=", "[="), record[1])

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Without ranges: "at least 1" helps nobody."""
        return {name: value for name, value in super().get_help_extra(ctx).items() if name != "range"}


class Argument(click.Argument):
    """One with a line of help, as options have."""

    def __init__(self, *args: Any, help: str, group: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = help
        self.group = group

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        return (self.name or "").upper(), self.help


class Command(click.Command):
    """Its options stand in groups, and examples below them."""

    def __init__(self, *args: Any, examples: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples or {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {group: [] for group in _ORDER}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups[getattr(param, "group", _OTHER)].append(record)
        width = max(len(name) for rows in groups.values() for name, _ in rows)
        for group, rows in groups.items():
            if rows:
                with formatter.section(group or "Options"):
                    formatter.write_dl([(name.ljust(width), text) for name, text in rows])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                formatter.write_dl(list(self.examples.items()), col_max=_WIDEST)
