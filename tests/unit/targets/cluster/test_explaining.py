from __future__ import annotations

import pytest

from sbkube.helm.releases import (
    ClusterUnreachable,
    Forbidden,
    NotAuthenticated,
    NotReady,
    OwnedByOther,
    ReleaseError,
)
from sbkube.targets.base import Deployment, DeployOptions, Manifests
from sbkube.targets.cluster.explaining import explain, explained, reworded, unreachable

WEB = Deployment("shop", "web", "prod", Manifests(), options=DeployOptions(timeout=90))


def told(said: str) -> str:
    return explain(said, WEB)[0]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("anything that nobody knows", "anything that nobody knows"),
        # Helm 3
        (
            (
                '2 errors occurred:\n\t* services "a" is forbidden: exceeded quota: small, requested: services=1, used: '
                "services=0, limited: services=0\n\t* configmaps \"bad\" is forbidden: ValidatingAdmissionPolicy 'p' "
                "denied request: no\n\n"
            ),
            (
                "services a: exceeds the quota `small` of the namespace: requested services=1, used services=0, limited "
                "services=0\n  configmaps bad: refused: ValidatingAdmissionPolicy 'p' denied request: no"
            ),
        ),
        (
            (
                '1 error occurred:\n\t* Internal error occurred: failed calling webhook "check.io": failed to call webhook: '
                'Post "https://x": refused\n\n'
            ),
            'the webhook check.io, which is to check it, does not answer: Post "https://x": refused',
        ),
        (
            (
                'cannot patch "web" with kind Deployment: Deployment.apps "web" is invalid: spec.selector: Invalid value: '
                "{}: field is immutable"
            ),
            "Deployment web: `spec.selector` cannot be changed in an object that is there",
        ),
        (
            "failed pre-install: 1 error occurred:\n\t* job migrate failed: BackoffLimitExceeded\n\n",
            "its pre-install hook failed: Job migrate: BackoffLimitExceeded",
        ),
        # Helm 4
        (
            (
                'failed to create resource: server-side apply failed for object prod/Bad /v1, Kind=ConfigMap: ConfigMap "Bad" '
                'is invalid: metadata.name: Invalid value: "Bad": a lowercase RFC 1123 subdomain'
            ),
            'ConfigMap Bad: is invalid: metadata.name: Invalid value: "Bad": a lowercase RFC 1123 subdomain',
        ),
        (
            (
                "server-side apply failed for object prod/web apps/v1, Kind=Deployment: failed to create typed patch object "
                "(prod/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema"
            ),
            "Deployment web: is invalid: .spec.replica: no such field",
        ),
        (
            (
                "server-side apply failed for object /x rbac.authorization.k8s.io/v1, Kind=ClusterRole: "
                'clusterroles.rbac.authorization.k8s.io "x" is forbidden: User "ann" cannot patch resource "clusterroles" in '
                'API group "rbac.authorization.k8s.io" at the cluster scope'
            ),
            "ClusterRole x: user 'ann' may not patch clusterroles.rbac.authorization.k8s.io of the cluster",
        ),
        (
            (
                'server-side apply failed for object prod/a /v1, Kind=ConfigMap: admission webhook "check.io" denied the '
                "request: no"
            ),
            "ConfigMap a: refused by the webhook check.io: no",
        ),
        (
            (
                'create: failed to create: secrets "sh.helm.release.v1.web.v1" is forbidden: unable to create new content in '
                "namespace prod because it is being terminated"
            ),
            "the namespace prod is being deleted, so nothing can be made in it",
        ),
        (
            (
                "release web failed, and has been rolled back due to rollback-on-failure being set: resource "
                "Deployment/prod/web not ready. status: InProgress, message: Available: 0/1\ncontext deadline exceeded\n"
                "  Pod web-1: failed"
            ),
            (
                "not ready after 90 s (`timeout` of the app)\n"
                "  Deployment web: Available: 0/1\n  Pod web-1: failed\n  it was rolled back, as `atomic` says"
            ),
        ),
        (
            "release web failed, and has been uninstalled due to atomic being set: no such thing",
            "no such thing\n  it was uninstalled, as `atomic` says",
        ),
        (
            (
                "conflict occurred while applying object prod/a apps/v1, Kind=Deployment: Apply failed with 3 conflicts: "
                'conflicts with "kubectl" using apps/v1:\n- .spec.replicas\n- .spec.paused\nconflicts with "hpa" with '
                'subresource "scale" using apps/v1: .spec.x'
            ),
            (
                "Deployment a: `.spec.replicas`, `.spec.paused` was set by 'kubectl', whose it is now; `.spec.x` was set by "
                "'hpa', whose it is now"
            ),
        ),
    ],
)
def test_what_helm_says_is_told_in_the_words_of_who_has_to_mend_it(said: str, text: str) -> None:
    assert told(said) == text


def test_what_is_said_of_each_object_has_a_line() -> None:
    quota = (
        'server-side apply failed for object prod/{0} /v1, Kind=Pod: pods "{0}" is forbidden: exceeded quota: small, '
        "requested: pods=1, used: pods=2, limited: pods=2"
    )
    text, hint = explain("\n".join(quota.format(name) for name in "ab"), WEB)
    line = "Pod {}: exceeds the quota `small` of the namespace: requested pods=1, used pods=2, limited pods=2"
    assert text.splitlines() == [line.format("a"), "  " + line.format("b")]
    assert hint == "make room in namespace prod, ask for less, or raise the quota"


def test_an_error_keeps_its_kind_and_knows_its_release() -> None:
    said = 'list: failed to list: secrets is forbidden: User "ann" cannot list resource "secrets" in API group "" in the namespace "prod"'
    better = explained(Forbidden("", "", said), WEB)
    assert type(better) is Forbidden
    assert str(better) == (
        "release 'web' in namespace 'prod': user 'ann' may not list secrets in namespace prod, where releases are kept"
    )
    assert better.hint is not None


def test_what_was_made_with_words_of_our_own_stays() -> None:
    for error in (
        ReleaseError("web", "prod", "it is so", hint="do this"),
        OwnedByOther("web", "prod", "x", None),
    ):
        assert explained(error, WEB) is error


def test_a_hint_that_an_error_brings_is_kept() -> None:
    error = NotReady(
        "web",
        "prod",
        "failed pre-install: resource Job/prod/x not ready. status: Failed, message: no",
        hint="so",
    )
    assert explained(error, WEB).hint == "so"


def test_a_cause_that_the_api_server_has_said_is_reworded_too() -> None:
    said = 'Error creating: pods "web-x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1'
    assert reworded(said).startswith(
        "Error creating: exceeds the quota `small` of the namespace: requested pods=1"
    )


def test_who_cannot_be_reached_is_named_by_server_and_context() -> None:
    said = 'kubernetes cluster unreachable: Get "https://10.0.0.1:6443/version": dial tcp 10.0.0.1:6443: connect: connection refused'
    told = unreachable(ClusterUnreachable(said), "prod")
    assert str(told) == (
        "the API server https://10.0.0.1:6443 of context 'prod' cannot be reached: "
        "dial tcp 10.0.0.1:6443: connect: connection refused"
    )
    assert type(told) is ClusterUnreachable
    refused = unreachable(
        NotAuthenticated("the server has asked for the client to provide credentials"), "prod"
    )
    assert type(refused) is NotAuthenticated
    assert "of context 'prod' does not take the credentials: the server has asked" in str(refused)
