"""What is wrong with a project, in whole sentences, with lines and hints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sbkube.config.problems import InvalidConfig
from sbkube.config.project import Project
from sbkube.documents import InvalidYaml
from sbkube.errors import ConfigError

Load = Callable[..., Project]

# Each file has one problem: the text, its line, what is said, and the hint.
ONE_PROBLEM: list[tuple[str, int, str, str | None]] = [
    ("namespace: a\naps: {}", 2, "there is no field `aps` in the file", "did you mean `apps`?"),
    ("apps: 5", 1, "`apps` must be a mapping, not '5'", None),
    ("namespace: [a]", 1, "`namespace` of the settings must be text, not a list", None),
    (
        "apps:\n- name: redis\n  type: install-helm",
        1,
        "`apps` must be a mapping of names to apps, not a list, which was the form of sbkube 0.1",
        "write `redis: {type: helm, …}` for `- name: redis`",
    ),
    ("apps:\n  a:", 2, "app 'a' must be a mapping with a `type`, not nothing", None),
    ("apps:\n  a: x", 2, "app 'a' must be a mapping with a `type`, not the text 'x'", None),
    (
        "apps:\n  a: {}",
        2,
        "`type` of app 'a' is missing",
        "types are: helm, yaml, kustomize, git, http, action, exec, noop, hook",
    ),
    (
        "apps:\n  a:\n    type: web",
        3,
        "`type` of app 'a' must be one of helm, yaml, kustomize, git, http, action, exec, noop, hook, not 'web'",
        None,
    ),
    (
        "apps:\n  a:\n    type: hlem",
        3,
        "`type` of app 'a' must be one of helm, yaml, kustomize, git, http, action, exec, noop, hook, not 'hlem'",
        "did you mean `helm`?",
    ),
    (
        "apps:\n  a:\n    type: [helm]",
        3,
        "`type` of app 'a' must be one of helm, yaml, kustomize, git, http, action, exec, noop, hook, not a list",
        None,
    ),
    (
        "apps:\n  a: {type: install-helm, specs: {path: x}}",
        2,
        "`type: install-helm` of app 'a' is of an older sbkube",
        "write `type: helm`, with the fields under `specs` directly in the app",
    ),
    (
        "apps:\n  My_App: {type: noop}",
        2,
        "the app name 'My_App' must consist of at most 63 lower-case letters, digits and inner dashes",
        "call it `my-app`",
    ),
    ("apps:\n  a: {type: helm}", 2, "`chart` of app 'a' is missing", None),
    (
        "apps:\n  a:\n    type: helm\n    chart: x\n    timeout: [5]",
        5,
        "`timeout` of app 'a' must be text such as `90s` or `1h30m`, or seconds, not a list",
        None,
    ),
    (
        "apps:\n  a:\n    type: noop\n    enabled: maybe",
        4,
        "`enabled` of app 'a' must be true or false, not the text 'maybe'",
        None,
    ),
    (
        "apps:\n  a:\n    type: noop\n    labels:\n      x: [1]",
        5,
        "`labels.x` of app 'a' must be text, not a list",
        None,
    ),
    (
        "apps:\n  a:\n    type: noop\n    retry:\n      retires: 2",
        5,
        "there is no field `retires` in `retry` of app 'a'",
        "did you mean `retries`?",
    ),
    (
        "apps:\n  a:\n    type: noop\n    retry: {retries: many}",
        4,
        "`retry.retries` of app 'a' must be a whole number, not the text 'many'",
        None,
    ),
    (
        "apps:\n  a: {type: noop, retry: {jitter: 3}}",
        2,
        "`retry.jitter` of app 'a' must be at most 1.0, not 3",
        None,
    ),
    (
        "apps:\n  a: {type: noop, on_interrupt: rerunn}",
        2,
        "`on_interrupt` of app 'a' must be one of rerun, verify, ask, not the text 'rerunn'",
        "did you mean `rerun`?",
    ),
    (
        "apps:\n  a: {type: noop, time_limit: {deplo: 5s}}",
        2,
        "`time_limit.deplo` of app 'a' is none of prepare, build, template, deploy",
        "did you mean `deploy`?",
    ),
    (
        "apps:\n  a:\n    type: yaml\n    files: [x]\n    manifests: [y]",
        4,
        "app 'a' has both `files` and `manifests`",
        "`files` is an older spelling of `manifests`: keep one",
    ),
    (
        "apps:\n  a:\n    type: yaml\n    files: {}",
        4,
        "`files` of app 'a' must be text, not a mapping",
        None,
    ),
    (
        "apps:\n  a:\n    type: exec\n    commands:\n    - ok\n    - {a: 1}",
        6,
        "`commands[1]` of app 'a' must be text or a list, not a mapping",
        None,
    ),
    ("apps:\n  a: {type: exec, commands: []}", 2, "`commands` of app 'a' must not be empty", None),
    (
        "apps:\n  a: {type: exec, commands: [x], env: {A: {}}}",
        2,
        "`env.A.from_env` of app 'a' is missing",
        None,
    ),
    (
        "apps:\n  a:\n    type: hook\n    tasks:\n    - {type: shell, name: x}",
        5,
        "the `type` of `tasks[0]` of app 'a' must be one of manifests, inline, command, not 'shell'",
        None,
    ),
    (
        "apps:\n  a:\n    type: hook\n    tasks:\n    - {name: x}",
        5,
        "`tasks[0]` of app 'a' needs a `type`",
        None,
    ),
    (
        "apps:\n  a:\n    type: helm\n    chart: x\n    hooks:\n      on_build_failure: []",
        6,
        "there is no field `on_build_failure` in `hooks` of app 'a'",
        "did you mean `on_deploy_failure`?",
    ),
    (
        "hooks: {delpoy: {}}",
        1,
        "`hooks.delpoy` is none of prepare, build, template, deploy, apply",
        "did you mean `deploy`?",
    ),
    (
        "phases:\n  p1: {source: a.yaml, apps: {a: {type: noop}}}",
        2,
        "`phases.p1` needs either `source` or `apps`",
        None,
    ),
    (
        "phases:\n  p1: {apps: {a: {type: web}}}",
        2,
        (
            "`type` of app 'a' must be one of helm, yaml, kustomize, git, http, "
            "action, exec, noop, hook, not 'web'"
        ),
        None,
    ),
    (
        "phases:\n  p1: {source: x, settings: {namespce: y}}",
        2,
        "there is no field `namespce` in the settings of phase 'p1'",
        "did you mean `namespace`?",
    ),
    ("target: out", 1, "`target` must be `cluster` or `{directory: PATH}`", None),
    ("limits: {pools: {wrok: 1}}", 1, "there is no field `wrok` in `limits.pools`", "did you mean `work`?"),
    ("limits: {max_parallel: 0}", 1, "`limits.max_parallel` must be at least 1, not 0", None),
    (
        "apiVersion: sbkube/v2",
        1,
        "`apiVersion` must be one of sbkube/v1, not the text 'sbkube/v2'",
        "did you mean `sbkube/v1`?",
    ),
    ("defaults:\n  wiat: true", 2, "no type of app has a field `wiat`", "did you mean `wait`?"),
    ("defaults: {type: helm}", 1, "`type` cannot be a default", None),
    (
        "apps:\n  a: {type: helm, chart: x}\n  b: {type: helm, chart: x}\ndefaults:\n  wait: maybe",
        5,
        "`wait` of the defaults must be true or false, not the text 'maybe'",
        None,
    ),
    # dependencies
    (
        "apps:\n  web:\n    type: noop\n    depends_on:\n    - redsi\n  redis: {type: noop}",
        5,
        "app 'web' depends on 'redsi', which is not in this file",
        "did you mean `redis`?",
    ),
    ("apps:\n  a: {type: noop, depends_on: [a]}", 2, "app 'a' depends on itself", None),
    (
        (
            "apps:\n  a: {type: noop, depends_on: [b]}\n  b: {type: noop, depends_on: [c]}\n"
            "  c:\n    type: noop\n    depends_on: [d, a]\n  d: {type: noop}"
        ),
        2,
        "apps depend on each other in a circle: a -> b -> c -> a",
        None,
    ),
    (
        "apps:\n  a: {type: noop, depends_on: [{app: b, stage: build}]}\n  b: {type: exec, commands: [x]}",
        2,
        "app 'a' waits for build of 'b', whose stages are: deploy",
        None,
    ),
    (
        "apps:\n  a: {type: noop, depends_on: b}",
        2,
        "`depends_on` of app 'a' must be a list, not the text 'b'",
        None,
    ),
]


@pytest.mark.parametrize(("text", "line", "message", "hint"), ONE_PROBLEM)
def test_a_problem_is_said_in_one_sentence_with_its_line(
    load: Load, folder: Path, text: str, line: int, message: str, hint: str | None
) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(files={"config.yaml": text + "\n"})
    assert str(caught.value) == f"{folder / 'config.yaml'}:{line}: {message}"
    if hint is not None or (caught.value.hint or "").startswith("did you mean"):
        assert caught.value.hint == hint


def test_a_field_that_resembles_none_is_answered_with_all_there_are(load: Load) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(config="limits: {xyz: 1}")
    assert caught.value.hint == "there are: max_parallel, pools"


def test_problems_of_all_files_are_reported_together_in_their_order(load: Load, folder: Path) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(
            config="apps:\n  a: {type: helm, chrat: x}\n  b: {type: web}\ntarget: x\n",
            sources="cluster: c\nhelm_repos: [1]\n",
        )
    assert str(caught.value) == (
        f"{folder}/config.yaml: 5 problems\n"
        "  line 2: `chart` of app 'a' is missing\n"
        "  line 2: there is no field `chrat` in app 'a' (did you mean `chart`?)\n"
        "  line 3: `type` of app 'b' must be one of helm, yaml, kustomize, git, http, action, exec, noop, hook, "
        "not 'web'\n"
        "  line 4: `target` must be `cluster` or `{directory: PATH}`\n"
        f"  {folder}/sources.yaml:2: `helm_repos` of the settings must be a mapping, not a list"
    )
    assert len(caught.value.problems) == 5


def test_no_more_than_ten_problems_are_shown(load: Load) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(config="apps:\n" + "".join(f"  a{n}: {{type: web}}\n" for n in range(25)))
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(": 25 problems")
    assert len(lines) == 12
    assert lines[-1] == "  and 15 more"


def test_no_word_of_the_library_that_checks_reaches_the_user(load: Load) -> None:
    wrong = "{a: [{b: [1]}]}"
    fields = "depends_on notes labels namespace retry time_limit hooks values set_values overrides crds wait version"
    for kind in ("helm", "exec", "hook", "yaml", "http", "action"):
        keys = [*fields.split(), "tasks", "commands", "env", "manifests", "url", "headers", "actions"]
        text = "".join(f"    {key}: {value}\n" for value in (wrong,) for key in keys)
        with pytest.raises(InvalidConfig) as caught:
            load(config=f"apps:\n  a:\n    type: {kind}\n{text}")
        for problem in caught.value.problems:
            for word in ("Input", "valid ", "dict", "tuple", "str ", "pydantic", "validation", "instance"):
                assert word not in problem.message


def test_an_optional_dependency_may_be_absent(load: Load) -> None:
    project = load(config="apps:\n  a: {type: noop, depends_on: [{app: b, optional: true}]}\n")
    assert project.apps["a"].depends_on[0].optional


def test_a_need_of_an_early_stage_makes_no_circle(load: Load) -> None:
    load(
        config="""
        apps:
          a: {type: git, repo: x, depends_on: [b]}
          b: {type: yaml, manifests: [x], depends_on: [{app: a, stage: prepare}]}
        """
    )


def test_a_disabled_dependency_is_a_notice_unless_it_is_optional(load: Load, folder: Path) -> None:
    project = load(
        config="""
        apps:
          a: {type: noop, enabled: false}
          b: {type: noop, depends_on: [a]}
          c: {type: noop, depends_on: [{app: a, optional: true}]}
          d: {type: noop, depends_on: [a], enabled: false}
        """
    )
    assert project.notices == [f"{folder}/config.yaml:4: app 'b' depends on 'a', which is disabled"]


def test_a_file_that_is_no_yaml_no_mapping_or_two_documents_is_refused(load: Load) -> None:
    for text, message in [
        ("apps: {", "is not valid YAML"),
        ("- a", "the file must hold keys and values, not a list"),
        ("apps: {}\n---\napps: {}", "a second document starts here"),
        ("apps: {a: {type: noop}, a: {type: noop}}", "the key 'a' stands here a second time"),
        ("apps: !apps {}", "the tag '!apps' is not supported"),
    ]:
        with pytest.raises(InvalidYaml, match=message):
            load(config=text)


def test_a_config_that_cannot_be_read_is_named(load: Load, folder: Path) -> None:
    (folder / "config.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match=f"^{folder}/config.yaml:1: is not UTF-8: byte 0xff$"):
        load()


def test_deps_are_taken_with_a_notice(load: Load, folder: Path) -> None:
    project = load(config="apps: {a: {type: noop}}\ndeps: [a000_base]\n")
    assert project.deps == ("a000_base",)
    assert project.notices == [
        f"{folder}/config.yaml:2: `deps` names groups outside this project, which are not checked"
    ]
