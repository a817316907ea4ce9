"""What Helm and the API server say of a failed deploy, in the words of who has to mend it. Pure.

Helm's words name its own functions and objects as Go has them; what went wrong stands at their end. Each rule takes one
such saying; what no rule knows stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sbkube.helm.releases import (
    ApplyConflict,
    ClusterUnreachable,
    Forbidden,
    NotAuthenticated,
    NotReady,
    ReleaseError,
    ReleaseLocked,
    WebhookUnreachable,
)
from sbkube.targets.base import Deployment

Words = re.Match[str]
_PLAIN = (ReleaseError, Forbidden, NotReady, ReleaseLocked, ApplyConflict, WebhookUnreachable)
"""Those whose text is Helm's; the others were made with their own words."""


@dataclass(frozen=True, slots=True)
class Rule:
    words: re.Pattern[str]
    say: str | Callable[[Words], str]
    hint: str = ""
    """May name groups of the words, and `app`, `release`, `namespace`."""


def explained(error: ReleaseError, deployment: Deployment) -> ReleaseError:
    """The same error in better words, if there are any."""
    if type(error) not in _PLAIN:
        return error
    text, hint = explain(error.said, deployment)
    if (text, hint) == (error.said, None) and error.release:
        return error
    release, namespace = error.release or deployment.release, error.namespace or deployment.namespace
    return type(error)(release, namespace, text, hint=error.hint or hint)


def reworded(line: str) -> str:
    """What a warning says of an object, which the API server may have said first."""
    for rule in _RULES:
        line = rule.words.sub(rule.say, line)
    return line


def unreachable(error: ClusterUnreachable, context: str | None) -> ClusterUnreachable:
    """With who cannot be reached by which name."""
    found = _REQUEST.search(error.text)
    where = f" {found['server']}" if found else ""
    who = f"the API server{where}" + (f" of context {context!r}" if context else "")
    if isinstance(error, NotAuthenticated):
        return NotAuthenticated(
            f"{who} does not take the credentials: {error.text}",
            hint="see whether those of the kubeconfig are valid still",
        )
    if "not ready. status: Unknown" in error.text:
        why = "it went away while the release was waited for"
    else:
        why = found["why"] if found else error.text
    return ClusterUnreachable(
        f"{who} cannot be reached: {why}",
        hint="see whether it runs and the kubeconfig leads to it; a run with `--resume` goes on",
    )


_REQUEST = re.compile(r'\w+ "(?P<server>https?://[^/"]+)[^"]*": (?P<why>.*)')


def explain(said: str, deployment: Deployment) -> tuple[str, str | None]:
    text, hints = _UNDONE.sub("", said), list[str]()
    about = {
        "app": deployment.app,
        "release": deployment.release,
        "namespace": deployment.namespace,
        "timeout": f"{deployment.options.timeout:g}",
    }
    for rule in _RULES:
        found = rule.words.search(text)
        if found is None:
            continue
        text = rule.words.sub(rule.say, text)
        if rule.hint:
            hints.append(rule.hint.format_map({**about, **_groups(found)}))
    lines = [line for line in text.splitlines() if line.strip()]
    waited = [line for line in lines if line.strip() in _TIME_IS_OVER]
    if waited:
        rest = [line for line in lines if line not in waited]
        lines = [f"not ready after {deployment.options.timeout:g} s (`timeout` of the app)", *_indented(rest)]
    elif len(lines) > 1:
        lines = [lines[0], *_indented(lines[1:])]
    if undone := _UNDONE.search(said):
        lines.append(f"  it was {undone[1]}, as `atomic` says")
    return "\n".join(lines), hints[0] if hints else None


_UNDONE = re.compile(r"release \S+ failed, and has been (rolled back|uninstalled) due to [\w-]+ being set: ")


def _indented(lines: list[str]) -> Iterator[str]:
    return (f"  {line.strip()}" for line in lines)


def _groups(found: Words) -> dict[str, str]:
    return {name: text or "" for name, text in found.groupdict().items()}


_TIME_IS_OVER = frozenset({"context deadline exceeded", "timed out waiting for the condition"})


def _object(found: Words) -> str:
    return f"{found['kind']} {found['object']}: "


def _resource(found: Words) -> str:
    group = found["group"]
    return f"{found['resource']}.{group}" if group else found["resource"]


def _may_not(found: Words) -> str:
    where = f" in namespace {found['where']}" if found["where"] else " of the cluster"
    kept = ", where releases are kept" if found["resource"] == "secrets" else ""
    return f"user {found['user']!r} may not {found['verb']} {_resource(found)}{where}{kept}"


def _fields(found: Words) -> str:
    """Each manager with its fields."""
    told = []
    for who in re.finditer(
        r'conflicts? with "(?P<who>[^"]*)"[^:\n]*:(?P<fields>[^\n]*(\n- [^\n]*)*)', found["rest"]
    ):
        fields = ", ".join(f"`{field}`" for field in re.split(r"\n- |\s+", who["fields"]) if field)
        told.append(f"{fields} was set by {who['who']!r}, whose it is now")
    return _object(found) + ("; ".join(told) or found["rest"])


def _unknown_kind(found: Words) -> str:
    return (
        f"{found['kind']} {found['object']}: the cluster knows no kind {found['kind']} of {found['version']}"
    )


_OBJECT = r"object (?P<where>[^\s/]*)/(?P<object>\S+) \S*, Kind=(?P<kind>\w+): "
_RULES = (
    # Helm 3 says how many there are, and mostly not of which object, which the API server then has said in its own way.
    Rule(re.compile(r"\d+ errors? occurred:\s*(\* )?"), ""),
    Rule(re.compile(r"^\s*\* ", re.MULTILINE), ""),
    Rule(
        re.compile(
            r'^(failed to create resource: )?(?P<resource>[\w./-]+) "(?P<object>[^"]*)" is forbidden: '
            r"(?=Validating|exceeded quota)",
            re.MULTILINE,
        ),
        r'\g<resource> \g<object>: \g<resource> "\g<object>" is forbidden: ',
    ),
    Rule(re.compile(r'cannot patch "(?P<object>[^"]*)" with kind (?P<kind>\w+): '), _object),
    Rule(
        re.compile(r"failed (?P<hook>(pre|post)-\w+): job (?P<object>\S+) failed: "),
        r"its \g<hook> hook failed: Job \g<object>: ",
        "`kubectl logs Job/{object} -n {namespace}` shows what it printed",
    ),
    Rule(
        re.compile(
            rf"conflict occurred while applying {_OBJECT}Apply failed with \d+ conflicts?: (?P<rest>.*)",
            re.DOTALL,
        ),
        _fields,
        "`force_conflicts: true` of app {app!r} takes it back; or leave the field out of what is deployed",
    ),
    Rule(
        re.compile(
            rf"(failed to create resource: |failed to replace object: |error when applying patch: )?"
            rf"server-side apply failed for {_OBJECT}"
        ),
        _object,
    ),
    Rule(
        re.compile(
            r"unable to build kubernetes objects from [^:\n]*: |[Uu]nable to continue with (install|update): "
            r"|could not get information about the resource (?=\w+ \")|^(create|update|list|get|query): failed to \w+: ",
            re.MULTILINE,
        ),
        "",
    ),
    Rule(re.compile(r'^(\w+) "([^"]+)" in namespace "[^"]*": ', re.MULTILINE), r"\1 \2: "),
    Rule(
        re.compile(
            r'resource mapping not found for name: "(?P<object>[^"]*)" namespace: "[^"]*" from "[^"]*": no matches for kind '
            r'"(?P<kind>[^"]*)" in version "(?P<version>[^"]*)"(\nensure CRDs are installed first)?'
        ),
        _unknown_kind,
        "its CustomResourceDefinition must be there before: in `crds/` of the chart, among the manifests of the same "
        "`yaml` or `kustomize` app, or in an app that {app!r} depends on",
    ),
    Rule(
        re.compile(
            r'\S+( "[^"]*")? is forbidden: unable to create new content in namespace (?P<where>\S+) '
            r"because it is being terminated"
        ),
        r"the namespace \g<where> is being deleted, so nothing can be made in it",
        "wait until it is gone, then resume; what has finalizers holds it up",
    ),
    Rule(
        re.compile(
            r'\S+( "[^"]*")? is forbidden: User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)" '
            r'in API group "(?P<group>[^"]*)"( in the namespace "(?P<where>[^"]*)"| at the cluster scope)'
        ),
        _may_not,
        "a deploy needs get, list, watch, create, update, patch and delete of it: let a Role give them to {user!r}, "
        "or deploy as somebody else",
    ),
    Rule(
        re.compile(
            r'\S+ "[^"]*" is forbidden: exceeded quota: (?P<quota>[^,\s]+), requested: (?P<asked>.*?), used: (?P<used>.*?), '
            r"limited: (?P<most>.*)"
        ),
        r"exceeds the quota `\g<quota>` of the namespace: requested \g<asked>, used \g<used>, limited \g<most>",
        "make room in namespace {namespace}, ask for less, or raise the quota",
    ),
    Rule(re.compile(r'[\w./-]+ "[^"]*" is forbidden: (?=Validating)'), "refused: "),
    Rule(
        re.compile(r'admission webhook "(?P<webhook>[^"]*)" denied the request: '),
        r"refused by the webhook \g<webhook>: ",
    ),
    Rule(
        re.compile(
            r'(Internal error occurred: )?failed calling webhook "(?P<webhook>[^"]*)": (failed to call webhook: )?'
        ),
        r"the webhook \g<webhook>, which is to check it, does not answer: ",
        "see whether what serves it runs; `kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations` "
        "lists webhooks",
    ),
    Rule(
        re.compile(
            r'(?P<kind>\w+) (?P<object>\S+): \S+ "[^"]*" is invalid: (?P<field>[\w.\[\]]+): Invalid value: .*: '
            r"field is immutable"
        ),
        r"\g<kind> \g<object>: `\g<field>` cannot be changed in an object that is there",
        "leave that field as it was; or `kubectl delete {kind} {object} -n {namespace}`, and a run with `--resume` "
        "makes it anew",
    ),
    Rule(re.compile(r'(?<=: )[\w.]+ "[^"]*" is invalid: '), "is invalid: "),
    Rule(re.compile(r"failed to create typed patch object \([^)]*\): "), "is invalid: "),
    Rule(re.compile(r"field not declared in schema"), "no such field"),
    Rule(
        re.compile(
            r"failed (?P<hook>(pre|post)-\w+): (resource (?P<kind>\w+)/(?P<where>[^/\s]*)/(?P<object>\S+) not ready\. "
            r"status: \w+, message: ?)"
        ),
        r"its \g<hook> hook failed: \g<kind> \g<object>: ",
        "`kubectl logs {kind}/{object} -n {where}` shows what it printed",
    ),
    Rule(re.compile(r"failed ((pre|post)-\w+): "), r"its \1 hook failed: "),
    Rule(re.compile(r"resource (\w+)/[^/\s]*/(\S+) not ready\. status: \w+, message: ?"), r"\1 \2: "),
)
