"""Where charts and files come from and which cluster is meant: `sources.yaml`, or `settings` of `sbkube.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, field_validator, model_validator

from sbkube.apps.fields import Model, NotEmpty, Secret, Spellings, one_or_many


class _Server(Model):
    """Of charts, and what opens it."""

    description: str | None = None
    username: Secret | None = None
    password: Secret | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure_skip_tls_verify: bool = False

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("needs both `cert_file` and `key_file`, or neither")
        if self.ca_file and self.insecure_skip_tls_verify:
            raise ValueError(
                "has `ca_file` and `insecure_skip_tls_verify: true`, which contradict each other"
            )
        return self


class HelmRepo(_Server):
    """A chart repository over HTTP."""

    url: NotEmpty

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"must start with http:// or https://, not be {url!r}")
        return url


class OciRegistry(_Server):
    """A host, perhaps with the begin of a path. Plain HTTP is spoken only where it is said, on loopback too."""

    registry: NotEmpty
    plain_http: bool = False

    @field_validator("registry")
    @classmethod
    def _with_scheme(cls, registry: str) -> str:
        place = registry.removeprefix("oci://").rstrip("/")
        if "@" in place:
            raise ValueError("has an `@`: a login goes into `username` and `password`")
        if not place or ":/" in place:
            raise ValueError(f"must be a host, perhaps with a path behind it, not {registry!r}")
        return f"oci://{place}"

    @model_validator(mode="after")
    def _plain_is_plain(self) -> Self:
        tls = [name for name in ("ca_file", "cert_file", "insecure_skip_tls_verify") if getattr(self, name)]
        if self.plain_http and tls:
            raise ValueError(f"has `plain_http: true` and `{tls[0]}`, which contradict each other")
        return self


class GitRepo(Model):
    url: NotEmpty
    description: str | None = None
    branch: str | None = None
    username: Secret | None = None
    password: Secret | None = None
    ssh_key: str | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.ssh_key and self.password:
            raise ValueError("has both `ssh_key` and `password`: keep one")
        return self


def _short(key: str, model: Any) -> BeforeValidator:
    """A lone text stands for the mapping's one required field."""

    def whole(value: object) -> object:
        return {key: value} if isinstance(value, str) else value

    return BeforeValidator(whole, json_schema_input_type=str | model)


class Sources(Model):
    """`repos` and `helm_sources` were `helm_repos`, `clusters` a list of which one is meant."""

    older: ClassVar = {"oci_repos": "oci_registries", "context": "kubeconfig_context"}

    cluster: str | None = None
    kubeconfig: str | None = None
    kubeconfig_context: str | None = None
    allowed_contexts: Annotated[tuple[NotEmpty, ...], BeforeValidator(one_or_many)] = ()
    helm_repos: dict[str, Annotated[HelmRepo, _short("url", HelmRepo)]] = {}
    oci_registries: dict[str, Annotated[OciRegistry, _short("registry", OciRegistry)]] = {}
    git_repos: dict[str, Annotated[GitRepo, _short("url", GitRepo)]] = {}
    cluster_values_file: str | None = None
    global_values: dict[str, Any] = {}
    global_labels: dict[str, str] = {}
    global_annotations: dict[str, str] = {}
    cleanup_metadata: bool = True
    helm_label_injection: bool = True
    incompatible_charts: tuple[str, ...] = ()
    force_label_injection: tuple[str, ...] = ()
    http_proxy: str | None = None
    https_proxy: str | None = None
    no_proxy: Annotated[tuple[str, ...], BeforeValidator(one_or_many)] = ()

    @classmethod
    def modernised(cls, data: dict[str, Any], spellings: Spellings) -> dict[str, Any]:
        data = super().modernised(data, spellings)
        for old in ("repos", "helm_sources"):
            if old in data and "helm_repos" not in data:
                data["helm_repos"] = data.pop(old)
                spellings.rename((old,), ("helm_repos",))
        for key in ("helm_repos", "oci_registries", "git_repos"):
            if isinstance(data.get(key), list):
                _name_entries(data, key, spellings)
        _move_clones(data, spellings)
        _choose_cluster(data, spellings)
        return data


def _name_entries(data: dict[str, Any], key: str, spellings: Spellings) -> None:
    """A list of `{name, …}` to a mapping by name; what has no name is left for an error."""
    entries = data[key]
    if not all(isinstance(entry, Mapping) and isinstance(entry.get("name"), str) for entry in entries):
        return
    written = spellings.written((key,))
    spellings.hint(written, f"`{key}` is a mapping of name to repository now, not a list")
    data[key] = {}
    for index, entry in enumerate(entries):
        kept = {name: value for name, value in entry.items() if name not in ("name", "type")}
        data[key][entry["name"]] = kept
        spellings.renamed[(key, entry["name"])] = (*written, index)


def _move_clones(data: dict[str, Any], spellings: Spellings) -> None:
    """`repos` once held git repositories too."""
    written, repos = spellings.written(("helm_repos",)), data.get("helm_repos")
    if (
        written != ("repos",)
        or not isinstance(repos, Mapping)
        or not isinstance(data.get("git_repos", {}), Mapping)
    ):
        return
    clones = {name: url for name, url in repos.items() if isinstance(url, str) and url.endswith(".git")}
    if clones:
        data["helm_repos"] = {name: repo for name, repo in repos.items() if name not in clones}
        data["git_repos"] = {**clones, **data.get("git_repos", {})}
        spellings.hint(written, f"git repositories stand under `git_repos` now: {', '.join(clones)}")


def _choose_cluster(data: dict[str, Any], spellings: Spellings) -> None:
    clusters = data.get("clusters")
    if not isinstance(clusters, list) or not all(isinstance(cluster, Mapping) for cluster in clusters):
        return
    chosen = next((cluster for cluster in clusters if cluster.get("default") is True), None)
    if chosen is None and len(clusters) == 1:
        chosen = clusters[0]
    if chosen is None or chosen.keys() - {"name", "context", "kubeconfig", "default"}:
        return
    del data["clusters"]
    index = clusters.index(chosen)
    for old, new in (("name", "cluster"), ("context", "kubeconfig_context"), ("kubeconfig", "kubeconfig")):
        if old in chosen and new not in data:
            data[new] = chosen[old]
            spellings.renamed[(new,)] = ("clusters", index, old)
    spellings.hint(
        ("clusters",), "`clusters` is `cluster`, `kubeconfig` and `kubeconfig_context` of one cluster now"
    )
