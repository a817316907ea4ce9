"""The example project, run as it is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from sbkube import api
from sbkube.api import Asked, Request
from sbkube.engine import StepStatus
from sbkube.targets.trees import digest_tree

SHOP = Path(__file__).parents[2] / "examples/shop"
PROFILES = [None, "dev", "prod"]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    made = shutil.ignore_patterns(".sbkube", "rendered", "reports")
    return Path(shutil.copytree(SHOP, tmp_path / "shop", ignore=made))


def helms() -> list[str]:
    named = os.environ.get("SBKUBE_TEST_HELM", "").split(":")
    found = [path for path in [*named, shutil.which("helm")] if path]
    return ["embedded", *dict.fromkeys(found)]


async def deployed(shop: Path, profile: str | None, helm: str, into: str) -> str:
    """The digest of the target after a run with this Helm."""
    project = api.load(shop, profile=profile, environ={})
    request = Request(target=str(shop / into), state_dir=str(shop / f".state-{into}"), helm=helm)
    outcome = await api.run(project, request, environ=dict(os.environ))
    outcome.state.raise_for_failures()
    assert outcome.state.is_complete
    return digest_tree(shop / into)


@pytest.mark.parametrize(
    "profile",
    [pytest.param(profile, marks=[pytest.mark.slow] * (profile is not None)) for profile in PROFILES],
)
async def test_every_helm_deploys_the_same_shop(shop: Path, profile: str | None) -> None:
    digests = {helm: await deployed(shop, profile, helm, f"out{n}") for n, helm in enumerate(helms())}

    assert len(set(digests.values())) == 1


async def test_profiles_deploy_different_shops(shop: Path) -> None:
    assert len({await deployed(shop, p, "embedded", f"out-{p}") for p in PROFILES}) == len(PROFILES)


async def test_two_runs_of_one_shop_are_the_same_to_the_byte(shop: Path) -> None:
    assert await deployed(shop, None, "embedded", "a") == await deployed(shop, None, "embedded", "b")


async def test_a_broken_app_holds_back_what_is_behind_it_and_a_resume_runs_just_that(shop: Path) -> None:
    project = api.load(shop, environ={})
    broken = await api.run(project, environ={**os.environ, "SHOP_BREAK": "migrate"})
    behind = {step.name for step in broken.state.with_status(StepStatus.BLOCKED)}

    resumed = await api.run(project, Request(Asked(resume=True)), environ=dict(os.environ))

    assert [step.name for step in broken.state.with_status(StepStatus.FAILED)] == ["migrate:deploy"]
    assert {"api:deploy", "web:deploy", "smoke-test:deploy"} <= behind
    assert set(resumed.decision.to_run) == {"migrate:deploy", *behind}
    assert resumed.state.is_complete
    assert resumed.state.run == broken.state.run
