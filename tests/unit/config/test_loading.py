"""Projects found, read and merged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sbkube.apps.exec import ExecApp
from sbkube.apps.helm import HelmApp
from sbkube.config.files import InvalidToml, MissingConfig, find_project
from sbkube.config.models import Limits, Pools
from sbkube.config.problems import InvalidConfig
from sbkube.config.project import Project
from sbkube.documents import UnreadableFile
from sbkube.errors import ConfigError, NotYet

Load = Callable[..., Project]

SOURCES = """
    cluster: production
    kubeconfig: ~/.kube/config
    kubeconfig_context: prod
    helm_repos:
      grafana: https://grafana.github.io/helm-charts
    """
CONFIG = """
    namespace: shop
    apps:
      db:
        type: helm
        chart: ./charts/db
      web:
        type: yaml
        manifests: [web.yaml]
        depends_on: [db]
    """
UNIFIED = """
    apiVersion: sbkube/v1
    metadata: {name: shop, anything: [goes, here]}
    settings:
      namespace: shop
      kubeconfig_context: prod
    apps:
      db: {type: noop}
    """


def test_a_config_with_sources_is_a_project(load: Load, folder: Path) -> None:
    project = load(config=CONFIG, sources=SOURCES)
    assert project.folder == folder
    assert project.config_file == folder / "config.yaml"
    assert set(project.files) == {folder / "config.yaml", folder / "sources.yaml"}
    assert list(project.apps) == ["db", "web"]
    assert project.settings.cluster == "production"
    assert project.settings.helm_repos["grafana"].url == "https://grafana.github.io/helm-charts"
    assert (project.profile, project.target, project.limits) == (None, "cluster", Limits())
    assert project.notices == []


def test_a_unified_file_is_a_project(load: Load, folder: Path) -> None:
    project = load(sbkube=UNIFIED)
    assert project.files == (folder / "sbkube.yaml",)
    assert (project.namespace, project.settings.kubeconfig_context) == ("shop", "prod")
    assert project.metadata["name"] == "shop"


def test_a_config_needs_no_sources(load: Load) -> None:
    assert load(config=CONFIG).settings.kubeconfig is None


def test_sources_of_the_folder_above_are_taken(load: Load, folder: Path) -> None:
    (folder.parent / "sources.yaml").write_text("cluster: above\n")
    assert load(config=CONFIG).settings.cluster == "above"
    assert load(config=CONFIG, sources=SOURCES).settings.cluster == "production"


def test_an_empty_config_has_no_apps(load: Load) -> None:
    assert load(config="").apps == {}
    assert load(config="namespace: x\napps:\n").apps == {}


@pytest.mark.parametrize("name", ["config.yml", "sbkube.yml", "sbkube.yaml"])
def test_both_endings_of_yaml_are_found(load: Load, folder: Path, name: str) -> None:
    project = load(files={name: "apiVersion: sbkube/v1\napps: {a: {type: noop}}\n"})
    assert project.config_file == folder / name


def test_a_project_may_be_written_in_toml(load: Load, folder: Path) -> None:
    text = 'namespace = "shop"\n[apps.web]\ntype = "yaml"\nmanifests = ["a.yaml"]\n'
    project = load(files={"config.toml": text, "sources.toml": 'cluster = "c"\n'})
    assert project.apps["web"].namespace == "shop"
    assert project.settings.cluster == "c"
    assert str(project.position("web", "type")) == str(folder / "config.toml")


def test_broken_toml_is_refused_with_its_line(load: Load, folder: Path) -> None:
    with pytest.raises(InvalidToml) as caught:
        load(files={"config.toml": "a = 1\nb = \n"})
    assert str(caught.value) == f"{folder / 'config.toml'}:2: is not valid TOML: invalid value"
    with pytest.raises(InvalidToml, match="nested too deep"):
        load(files={"config.toml": "a = " + "[" * 10_000})


def test_a_unified_file_wins_over_a_config_beside_it_and_says_so(load: Load, folder: Path) -> None:
    project = load(sbkube=UNIFIED, config=CONFIG)
    assert list(project.apps) == ["db"]
    assert project.notices == [
        f"{folder / 'sbkube.yaml'}: this config is taken, `config.yaml` beside it is not read"
    ]


def test_a_file_that_is_named_is_taken_whatever_else_is_there(load: Load, folder: Path) -> None:
    assert list(load(sbkube=UNIFIED, config=CONFIG, config_file="config.yaml").apps) == ["db", "web"]
    assert list(load(sbkube=UNIFIED, other=CONFIG, config_file="other").apps) == ["db", "web"]
    assert list(load(sbkube=UNIFIED, config_file=folder / "config.yaml").apps) == ["db", "web"]


def test_sources_that_are_named_are_taken_from_the_folder_or_the_one_above(load: Load, folder: Path) -> None:
    (folder.parent / "sources-b.yaml").write_text("cluster: b\n")
    assert load(config=CONFIG, sources_a="cluster: a", sources_file="sources-a.yaml").settings.cluster == "a"
    assert load(config=CONFIG, sources_file="sources-b").settings.cluster == "b"


def test_a_file_that_is_named_and_missing_is_an_error_that_says_where(load: Load, folder: Path) -> None:
    with pytest.raises(MissingConfig, match=r"^there is no file 'x.yaml' in ") as caught:
        load(config=CONFIG, config_file="x.yaml")
    assert str(folder) in str(caught.value)
    with pytest.raises(MissingConfig, match=r"^there is no file 'y.yaml' in "):
        load(config=CONFIG, sources_file="y.yaml")


def test_a_folder_without_a_config_says_what_was_looked_for(load: Load, folder: Path) -> None:
    with pytest.raises(MissingConfig) as caught:
        load()
    assert str(caught.value) == f"no `sbkube.yaml` or `config.yaml` in {folder}"
    assert caught.value.hint == "go to a project folder, or name one with `--app-dir`"


def test_a_folder_that_is_missing_or_a_file_is_refused(folder: Path, load: Load) -> None:
    folder.rmdir()
    with pytest.raises(MissingConfig, match=f"^{folder}: there is no such folder$"):
        load()
    folder.write_text("")
    with pytest.raises(UnreadableFile, match=f"^{folder}: cannot be read: not a directory$"):
        load()


def test_subfolders_with_configs_are_app_groups_and_not_supported_yet(load: Load, folder: Path) -> None:
    for name in ("b/config.yaml", "a/sbkube.yaml", "charts/config.yaml", ".git/config.yaml"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("apps: {}")
    with pytest.raises(NotYet, match=r"a project of several app groups \(a, b\) is not supported yet"):
        load()


def test_a_project_is_found_from_a_folder_inside_it(folder: Path) -> None:
    inside = folder / "charts/db"
    inside.mkdir(parents=True)
    (folder / "config.yaml").write_text("")
    assert find_project(inside) == find_project(folder) == folder


def test_outside_of_all_projects_none_is_found(folder: Path) -> None:
    with pytest.raises(MissingConfig, match=r"or any folder above$"):
        find_project(folder)


def test_a_folder_of_groups_is_found_as_what_it_is(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data/config.yaml").write_text("")
    assert find_project(folder) == folder


# Namespaces


def test_an_app_without_a_namespace_has_that_of_its_file(load: Load) -> None:
    project = load(config="namespace: shop\napps: {a: {type: noop}, b: {type: noop, namespace: own}}")
    assert [app.namespace for app in project.apps.values()] == ["shop", "own"]


def test_without_any_namespace_it_is_default(load: Load) -> None:
    project = load(config="apps: {a: {type: noop}}")
    assert (project.namespace, project.apps["a"].namespace) == ("default", "default")


@pytest.mark.parametrize("word", ["", "!none", "!ignore", "!false"])
def test_some_words_leave_the_namespace_to_the_manifests(load: Load, word: str) -> None:
    project = load(config=f"namespace: shop\napps: {{a: {{type: noop, namespace: '{word}'}}}}")
    assert project.apps["a"].namespace == ""


# Words as they are written


def test_names_that_yaml_takes_for_truth_values_are_names(load: Load) -> None:
    project = load(
        config="""
        namespace: on
        apps:
          on: {type: noop}
          y: {type: noop, depends_on: [on]}
          no: {type: exec, commands: [true], depends_on: [{app: y}], env: {DEBUG: yes, PORT: 08}}
          v1: {type: helm, chart: ./x, version: 1.10, kube_version: 1.30, labels: {version: 1.0}, wait: no}
          0x1: {type: noop, namespace: 007}
        """
    )
    assert list(project.apps) == ["on", "y", "no", "v1", "0x1"]
    assert project.namespace == "on"
    assert [needed.app for name in ("y", "no") for needed in project.apps[name].depends_on] == ["on", "y"]
    commands, chart = project.apps["no"], project.apps["v1"]
    assert isinstance(commands, ExecApp)
    assert (commands.commands, commands.env) == (("true",), {"DEBUG": "yes", "PORT": "08"})
    assert isinstance(chart, HelmApp)
    assert (chart.version, chart.kube_version, chart.labels, chart.wait) == (
        "1.10",
        "1.30",
        {"version": "1.0"},
        False,
    )
    assert project.apps["0x1"].namespace == "007"


def test_values_keep_the_types_that_go_gives_them(load: Load) -> None:
    project = load(config="apps: {a: {type: helm, chart: ./x, values: [{mode: 0755, on: yes, v: 1.10}]}}")
    app = project.apps["a"]
    assert isinstance(app, HelmApp)
    assert app.values == ({"mode": 493, "on": True, "v": 1.1},)


# Defaults, limits, target


def test_defaults_reach_the_apps_that_have_the_field_and_do_not_say_it(load: Load) -> None:
    project = load(
        config="""
        defaults: {wait: false, retry: {retries: 5}, labels: {team: shop}, namespace: d}
        apps:
          a: {type: helm, chart: ./a}
          b: {type: helm, chart: ./b, wait: true, retry: {base: 3s}, labels: {tier: web}, namespace: own}
          c: {type: exec, commands: [a]}
        """
    )
    a, b, c = project.apps.values()
    assert isinstance(a, HelmApp)
    assert isinstance(b, HelmApp)
    assert (a.wait, b.wait) == (False, True)
    assert a.retry is not None
    assert b.retry is not None
    assert c.retry is not None
    assert [(app.retries, app.base) for app in (a.retry, b.retry, c.retry)] == [(5, 1.0), (5, 3.0), (5, 1.0)]
    assert (a.labels, b.labels) == ({"team": "shop"}, {"team": "shop", "tier": "web"})
    assert (a.namespace, b.namespace) == ("d", "own")


def test_limits_are_pools_or_one_number(load: Load) -> None:
    assert load(config="limits: {pools: {work: 8, deploy: 64}}").limits == Limits(
        pools=Pools(work=8, deploy=64)
    )
    assert load(config="limits: {max_parallel: 20}").limits.max_parallel == 20


def test_the_target_is_the_cluster_or_a_folder(load: Load) -> None:
    assert load(config="target: cluster").target == "cluster"
    assert load(config="target: {directory: ./out}").target == Path("./out")


# Settings


def test_settings_are_inherited_from_unified_files_above_the_nearest_first(load: Load, folder: Path) -> None:
    top, near = folder.parent.parent / "sbkube.yaml", folder.parent / "sbkube.yaml"
    top.write_text(
        "settings: {namespace: top, kubeconfig_context: top, helm_repos: {a: http://a, b: http://b}}"
    )
    near.write_text("settings: {kubeconfig_context: near, cluster: near, helm_repos: {b: http://near}}")
    project = load(sbkube="apiVersion: sbkube/v1\nsettings: {helm_repos: {c: http://c}}\n")
    assert project.settings.helm_repos.keys() == {"a", "b", "c"}
    assert project.settings.helm_repos["b"].url == "http://near"
    assert (project.namespace, project.settings.kubeconfig_context, project.settings.cluster) == (
        "top",
        "near",
        None,
    )
    assert project.notices == [
        f"{top}:1: settings are taken from here too: `namespace`, `kubeconfig_context`, `helm_repos`",
        f"{near}:1: settings are taken from here too: `kubeconfig_context`, `helm_repos`",
    ]


def test_a_problem_in_a_file_above_is_reported_there(load: Load, folder: Path) -> None:
    above = folder.parent / "sbkube.yaml"
    above.write_text("settings:\n  helm_repos:\n    a: ftp://a\n")
    with pytest.raises(InvalidConfig, match=f"^{above}:3: `helm_repos.a"):
        load(sbkube=UNIFIED)


def test_sources_may_have_a_parent_and_defaults(load: Load, folder: Path) -> None:
    base = "kubeconfig: base\nkubeconfig_context: base\nhelm_repos: {a: http://a}\n"
    own = "_parent: base.yaml\n_defaults: {cluster: x, kubeconfig: y}\nkubeconfig_context: own\n"
    project = load(config=CONFIG, sources=own, base=base)
    settings = project.settings
    assert (settings.cluster, settings.kubeconfig, settings.kubeconfig_context) == ("x", "base", "own")
    assert folder / "base.yaml" in project.files


def test_sources_that_are_their_own_ancestors_are_refused(load: Load) -> None:
    with pytest.raises(ConfigError, match="sources files name each other as `_parent`"):
        load(config=CONFIG, sources="_parent: b.yaml\n", b="_parent: sources.yaml\n")


def test_repositories_have_short_and_long_forms_and_secrets_may_be_named(load: Load) -> None:
    settings = load(
        config=CONFIG,
        sources="""
        helm_repos:
          a: https://a
          b: {url: https://b, username: u, password: {from_env: B}, insecure_skip_tls_verify: true}
        oci_registries: {ghcr: ghcr.io, quay: {registry: oci://quay.io}}
        git_repos: {c: https://c.git, d: {url: git@d, branch: dev, ssh_key: ~/.ssh/id}}
        no_proxy: [localhost, .svc]
        """,
    ).settings
    assert settings.helm_repos["a"].url == "https://a"
    assert settings.oci_registries["ghcr"].registry == "oci://ghcr.io"
    assert settings.oci_registries["quay"].registry == "oci://quay.io"
    assert (settings.git_repos["c"].branch, settings.git_repos["d"].branch) == (None, "dev")
    assert settings.no_proxy == ("localhost", ".svc")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            "helm_repos: {a: {url: https://a, ca_file: x, cert_file: y}}",
            "needs both `cert_file` and `key_file`, or neither",
        ),
        (
            "helm_repos: {a: {url: https://a, ca_file: x, insecure_skip_tls_verify: true}}",
            "has `ca_file` and `insecure_skip_tls_verify: true`, which contradict each other",
        ),
        (
            "git_repos: {a: {url: git@a, password: p, ssh_key: k}}",
            "has both `ssh_key` and `password`: keep one",
        ),
        ("helm_repos: {a: ./charts}", "must start with http:// or https://, not be './charts'"),
        (
            "oci_registries: {a: {registry: x, key_file: y}}",
            "needs both `cert_file` and `key_file`, or neither",
        ),
        (
            "oci_registries: {a: {registry: x, plain_http: true, ca_file: y}}",
            "has `plain_http: true` and `ca_file`, which contradict each other",
        ),
        (
            "oci_registries: {a: 'https://x'}",
            "must be a host, perhaps with a path behind it, not 'https://x'",
        ),
        ("oci_registries: {a: 'me:secret@x'}", "has an `@`: a login goes into `username` and `password`"),
        ("oci_registries: {a: {}}", "`oci_registries.a.registry` of the settings is missing"),
        ("helm_repos: {a: [1]}", "`helm_repos.a` of the settings must be a mapping, not a list"),
        ("helm_repo: {}", "there is no field `helm_repo` in the settings"),
    ],
)
def test_what_is_wrong_with_sources_is_said_with_its_line(
    load: Load, folder: Path, entry: str, problem: str
) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(config=CONFIG, sources=f"cluster: x\n{entry}\n")
    assert str(caught.value).startswith(f"{folder / 'sources.yaml'}:2: ")
    assert problem in str(caught.value)


# Positions


def test_positions_are_those_of_the_file_that_says_it(load: Load, folder: Path) -> None:
    project = load(
        config="defaults: {wait: false}\napps:\n  a:\n    type: yaml\n    files:\n    - x\n    - y\n  b:\n    type: helm\n"
        "    specs:\n      chart: ./b\n",
        config_dev="apps:\n  b:\n    version: '1'\n",
        profile="dev",
    )
    lines: dict[tuple[str, *tuple[str | int, ...]], tuple[str, int]] = {
        ("a",): ("config.yaml", 3),
        ("a", "manifests"): ("config.yaml", 5),
        ("a", "manifests", 1): ("config.yaml", 7),
        ("b", "chart"): ("config.yaml", 11),
        ("b", "version"): ("config-dev.yaml", 3),
        ("b", "wait"): ("config.yaml", 1),
        ("a", "nothing"): ("config.yaml", 3),
    }
    found = {path: project.position(*path) for path in lines}
    assert {path: (at.file.relative_to(folder).name, at.line) for path, at in found.items()} == lines


def test_a_project_of_two_thousand_apps_loads_whole(load: Load) -> None:
    apps = "".join(f"  a{n}: {{type: helm, chart: ./c{n}, depends_on: [a{n - 1}]}}\n" for n in range(1, 2000))
    project = load(config=f"apps:\n  a0: {{type: noop}}\n{apps}")
    assert len(project.apps) == 2000
    assert project.position("a1999").line == 2001
