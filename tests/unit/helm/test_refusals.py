"""What the Helms say, word for word as Helm 3.22, Helm 4.2 and its library said it to a Kubernetes 1.36."""

from __future__ import annotations

import pytest

from sbkube.helm.base import ChartError, HelmError, RenderError, ValuesError
from sbkube.helm.refusals import refusal
from sbkube.helm.releases import (
    ApplyConflict,
    ClusterUnreachable,
    Forbidden,
    NotAuthenticated,
    NotReady,
    OwnedByOther,
    ReleaseError,
    ReleaseLocked,
    ReleaseMissing,
    WebhookUnreachable,
)

SAID: dict[type[HelmError], list[str]] = {
    ReleaseLocked: [
        "another operation (install/upgrade/rollback) is in progress",
        "release name check failed: cannot reuse a name that is still in use",
        "cannot re-use a name that is still in use",
        "release: already exists",
    ],
    ReleaseMissing: [
        "release: not found",
        "uninstall: Release not loaded: nope: release: not found",
        "release has no 77 version",
    ],
    Forbidden: [
        'list: failed to list: secrets is forbidden: User "weak" cannot list resource "secrets" in API group "" at the cluster scope',
        (
            'query: failed to query with labels: secrets is forbidden: User "weak" cannot list resource "secrets" in API group "" in '
            'the namespace "default"'
        ),
        (
            'unable to continue with install: could not get information about the resource ConfigMap "z" in namespace "default": '
            'configmaps "z" is forbidden: User "half" cannot get resource "configmaps" in API group "" in the namespace "default"'
        ),
        (
            'template: sbkube-look/templates/NOTES.txt:1:4: executing "sbkube-look/templates/NOTES.txt" at <lookup "v1" "Secret" '
            '"default" "">: error calling lookup: secrets is forbidden: User "weak" cannot list resource "secrets" in API group "" in '
            'the namespace "default"'
        ),
        (
            "server-side apply failed for object /rel-esc rbac.authorization.k8s.io/v1, Kind=ClusterRole: "
            'clusterroles.rbac.authorization.k8s.io "rel-esc" is forbidden: user "half" (groups=["system:authenticated"]) is '
            'attempting to grant RBAC permissions not currently held:\n{APIGroups:["*"], Resources:["*"], Verbs:["*"]}'
        ),
        (
            'Error from server (Forbidden): secrets is forbidden: User "weak" cannot list resource "secrets" in API group "" at the '
            "cluster scope"
        ),
    ],
    RenderError: [
        "execution error at (bad/templates/cm.yaml:5:3): no way",
        "parse error at (parse/templates/cm.yaml:1): missing value for if",
        (
            "YAML parse error on notyaml/templates/cm.yaml: error converting YAML to JSON: yaml: mapping values are not allowed in this "
            "context"
        ),
        'parse error at (function/templates/a.yaml:2): function "noSuchFunction" not defined',
        "parse error at (syntax/templates/a.yaml:4): unexpected EOF",
        (
            'nil/templates/a.yaml:4:18\n  executing "nil/templates/a.yaml" at <.Values.image.tag.name>:\n    nil pointer evaluating '
            "interface {}.tag"
        ),
        (
            'template: nil/templates/a.yaml:4:18: executing "nil/templates/a.yaml" at <.Values.image.tag.name>: nil pointer evaluating '
            "interface {}.tag"
        ),
        (
            'template: sbkube-look/templates/NOTES.txt:1:4: executing "sbkube-look/templates/NOTES.txt" at <lookup "example.com/v1" '
            '"Widget" "ns" "x">: error calling lookup: unable to get apiresource from unstructured: example.com/v1, Kind=Widget: the '
            "server could not find the requested resource"
        ),
    ],
    ValuesError: [
        (
            "values don't meet the specifications of the schema(s) in the following chart(s):\nschema:\n- at '/v': got string, want "
            "integer"
        ),
    ],
    ChartError: [
        "chart requires kubeVersion: <1.2 which is incompatible with Kubernetes v1.36.3",
        "library charts are not installable",
        (
            "chart dependencies are missing; run dependency update/build first: found in Chart.yaml, but missing in charts/ directory: "
            "absent"
        ),
        (
            "an error occurred while checking for chart dependencies. You may need to run 'helm dependency build' to fetch missing "
            "dependencies: found in Chart.yaml, but missing in charts/ directory: absent"
        ),
        (
            "An error occurred while checking for chart dependencies. You may need to run `helm dependency build` to fetch missing "
            "dependencies: found in Chart.yaml, but missing in charts/ directory: absent"
        ),
        (
            "cannot load values.yaml: cannot unmarshal yaml document: error converting YAML to JSON: yaml: line 1: did not find expected "
            "',' or ']'"
        ),
        "cannot load Chart.yaml: error converting YAML to JSON: yaml: line 2: did not find expected ',' or ']'",
        "validation: chart.metadata.version is required",
        "Chart.yaml file is missing",
        "unable to detect chart at /charts/x/Chart.yaml: open /charts/x/Chart.yaml: no such file or directory",
        'path "/charts/nope" not found',
        "stat /charts/nope: no such file or directory",
        "file '/charts/rubbish.tgz' does not appear to be a gzipped archive; got 'application/octet-stream'",
        "unable to load chart archive",
        "unexpected EOF",
    ],
    ApplyConflict: [
        (
            "conflict occurred while applying object ns/conf /v1, Kind=ConfigMap: Apply failed with 1 conflict: conflict with "
            '"kubectl": .data.v'
        ),
    ],
    NotReady: [
        "resource Deployment/ns/a not ready. status: Unknown, message: \ncontext deadline exceeded",
        "resource Deployment/ns/web not ready. status: InProgress, message: Available: 0/1\ncontext deadline exceeded",
        "resource Job/ns/job not ready. status: Failed, message: Job Failed. failed: 1/1",
        "context deadline exceeded",
        "failed pre-install: resource Job/ns/hook not ready. status: Failed, message: Job Failed. failed: 1/1",
        "failed post-install: 1 error occurred:\n\t* job hookp-hook failed: DeadlineExceeded",
        "failed pre-install: 1 error occurred:\n\t* timed out waiting for the condition",
        (
            "release at-watcher failed, and has been uninstalled due to rollback-on-failure being set: resource "
            "Deployment/ns/at-watcher not ready. status: InProgress, message: Available: 0/1\ncontext deadline exceeded"
        ),
        "release rd-legacy failed, and has been rolled back due to atomic being set: context deadline exceeded",
        (
            "an error occurred while rolling back the release. original upgrade error: context deadline exceeded: release rd-legacy "
            "failed: context deadline exceeded"
        ),
    ],
    NotAuthenticated: [
        "kubernetes cluster unreachable: the server has asked for the client to provide credentials",
        "Kubernetes cluster unreachable: the server has asked for the client to provide credentials",
    ],
    ClusterUnreachable: [
        (
            "cluster reachability check failed: kubernetes cluster unreachable: "
            'Get "https://127.0.0.1:1/version": dial tcp 127.0.0.1:1: connect: connection refused'
        ),
        'Kubernetes cluster unreachable: Get "https://127.0.0.1:1/version": EOF',
        (
            'kubernetes cluster unreachable: Get "https://no.such.host.invalid:1/version": dial tcp: lookup no.such.host.invalid: no '
            "such host"
        ),
        (
            "resource ConfigMap/ns/a not ready. status: Unknown, message: \n"
            "resource Deployment/ns/a not ready. status: Unknown, message:"
        ),
        (
            "create: failed to create: unexpected error when reading response body. Please retry. Original error: "
            "unexpected EOF"
        ),
        (
            'Kubernetes cluster unreachable: Get "https://127.0.0.1:1/version": tls: failed to verify certificate: x509: certificate '
            "signed by unknown authority"
        ),
        'kubernetes cluster unreachable: context "nosuch" does not exist',
        "kubernetes cluster unreachable: error loading config file \"/kubeconfig\": yaml: line 1: did not find expected ',' or ']'",
        "could not get apiVersions from Kubernetes: could not get apiVersions from Kubernetes: unknown",
    ],
    ReleaseError: [
        '"nonono" has no deployed releases',
        'create: failed to create: namespaces "rel-none" not found',
        'the release named "use" is already deleted',
        (
            'create: failed to create: secrets "sh.helm.release.v1.t.v1" is forbidden: unable to create new content in namespace ns '
            "because it is being terminated"
        ),
        (
            'server-side apply failed for object ns/q /v1, Kind=ConfigMap: configmaps "q" is forbidden: exceeded quota: q, requested: '
            "configmaps=1, used: configmaps=3, limited: configmaps=3"
        ),
        (
            'server-side apply failed for object ns/j batch/v1, Kind=Job: Job.batch "j" is invalid: spec.template: Invalid value: '
            '{"labels":{}}: field is immutable'
        ),
        'cannot patch "j" with kind Job: Job.batch "j" is invalid: spec.template: Invalid value: {"labels":{}}: field is immutable',
        (
            "server-side apply failed for object ns/w /v1, Kind=ConfigMap: failed to create typed patch object (ns/w; /v1, "
            "Kind=ConfigMap): .datta: field not declared in schema"
        ),
        (
            'unable to build kubernetes objects from release manifest: resource mapping not found for name: "w" namespace: "" from "": no '
            'matches for kind "Widget" in version "example.com/v1"\nensure CRDs are installed first'
        ),
        "create: failed to create: Request entity too large: limit is 3145728",
        "user supplied labels contains system reserved label name. System labels: [name owner status version createdAt modifiedAt]",
    ],
}


HEARD_OF: dict[type[HelmError], list[str]] = {
    ApplyConflict: [
        (
            "conflict occurred while applying object ns/web apps/v1, Kind=Deployment: Apply failed with 2 conflicts: conflicts with "
            '"kubectl-client-side-apply" using apps/v1:\n- .spec.replicas\n- .spec.selector'
        ),
    ],
    ClusterUnreachable: [
        'kubernetes cluster unreachable: Get "https://127.0.0.1:1/version": context deadline exceeded',
        (
            "create: failed to create: Post "
            '"https://127.0.0.1:1/api/v1/namespaces/ns/secrets?fieldManager=Helm": dial tcp 127.0.0.1:1: connect: connection refused'
        ),
        "the server is currently unable to handle the request",
        "the server has received too many requests and has asked us to try again later",
        "Timeout: request did not complete within requested timeout - context deadline exceeded",
        "etcdserver: leader changed",
    ],
    WebhookUnreachable: [
        (
            'server-side apply failed for object ns/w apps/v1, Kind=Deployment: Internal error occurred: failed calling webhook "a.b": '
            'failed to call webhook: Post "https://hook.ns.svc:443/?timeout=10s": dial tcp 10.0.0.1:443: connect: connection refused'
        ),
    ],
    ReleaseError: [
        (
            "server-side apply failed for object ns/w apps/v1, Kind=Deployment: admission webhook "
            '"a.b" denied the request: pods are not ready. status: Unauthorized'
        ),
    ],
}
"""What Kubernetes says on occasions that were not made for this list."""


@pytest.mark.parametrize(
    ("kind", "text"),
    [(kind, text) for known in (SAID, HEARD_OF) for kind, texts in known.items() for text in texts],
)
def test_what_helm_says_is_the_error_that_it_is(kind: type[HelmError], text: str) -> None:
    error = refusal(f"{text}\n", "demo", "shop")
    assert type(error) is kind
    assert text in str(error)


OWNED = (
    '{} to continue with install: ConfigMap "fixed" in namespace "ns" exists and cannot be imported into the current release: '
    "invalid ownership metadata; {}"
)
BY_NAME = (
    'annotation validation error: key "meta.helm.sh/release-name" must equal "own2": current value is "own1"'
)
MISSING = (
    'label validation error: missing key "app.kubernetes.io/managed-by": must be set to "Helm"; annotation validation error: missing '
    'key "meta.helm.sh/release-name": must be set to "loose"; annotation validation error: missing key '
    '"meta.helm.sh/release-namespace": must be set to "ns"'
)


@pytest.mark.parametrize(("why", "owner"), [(BY_NAME, "own1"), (MISSING, None)])
@pytest.mark.parametrize("unable", ["unable", "Unable"])
def test_an_object_that_is_not_ours_is_refused_by_its_owner(unable: str, why: str, owner: str | None) -> None:
    error = refusal(OWNED.format(unable, why), "demo", "shop")
    assert isinstance(error, OwnedByOther)
    assert error.owner == owner


def test_what_was_not_about_a_release_names_none() -> None:
    error = refusal('secrets is forbidden: User "weak" cannot list resource "secrets"', "", "")
    assert str(error).startswith("secrets is forbidden")
