"""What is run: the same tasks and the same bodies for every engine."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
from anyio.lowlevel import checkpoint

SLOTS = 32
"""How many bodies run at once, whatever the engine."""
NAP = 0.05
STAGES = ("prepare", "build", "template", "deploy")

Body = Callable[[object], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Task:
    id: str
    needs: tuple[str, ...] = ()


def independent(steps: int) -> list[Task]:
    return [Task(f"app{n:06}:deploy") for n in range(steps)]


def chains(steps: int) -> list[Task]:
    """Apps of four stages; `deploy` of app i also needs `deploy` of app i // 4."""
    return [
        Task(f"app{app:06}:{stage}", tuple(_needs(app, place)))
        for app in range(math.ceil(steps / len(STAGES)))
        for place, stage in enumerate(STAGES)
    ]


def _needs(app: int, place: int) -> list[str]:
    needs = [f"app{app:06}:{STAGES[place - 1]}"] if place else []
    if STAGES[place] == "deploy" and app:
        needs.append(f"app{app // 4:06}:deploy")
    return needs


async def nothing(_: object) -> None:
    """Does not even yield."""


async def yields(_: object) -> None:
    await checkpoint()


async def naps(_: object) -> None:
    await anyio.sleep(NAP)


@dataclass(frozen=True, slots=True)
class Workload:
    about: str
    tasks: Callable[[int], list[Task]]
    body: Body


WORKLOADS = {
    "W1": Workload("steps that do nothing and need nothing", independent, nothing),
    "W2": Workload("apps of 4 stages in a chain, deploys in a tree, bodies do nothing", chains, nothing),
    "WY": Workload("W2 whose bodies yield once to the loop", chains, yields),
    "W3": Workload("W2 whose bodies sleep 50 ms", chains, naps),
}


def bound_of_naps(steps: int) -> float:
    """No engine can finish W3 sooner: the slots are full all the time."""
    return math.ceil(steps / SLOTS) * NAP
