"""What kubectl is asked to do for an action: a program that keeps objects as a cluster does stands in for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sbkube.helm.releases import Cluster
from sbkube.targets.base import ObjectAction
from sbkube.targets.cluster.kubectl import Kubectl, KubectlFailed
from sbkube.targets.cluster.passing import Passing, passing

pytestmark = pytest.mark.anyio

# Objects are lines of the source. What `faults` says of one befalls it once: `lost` is created all the same.
PROGRAM = """#!{python}
import json, pathlib, sys
home, words = pathlib.Path({home!r}), sys.argv[1:]
kept = json.loads((home / "kept").read_text())
faults = json.loads((home / "faults").read_text())
source = words[words.index("-f") + 1]
names = pathlib.Path(source).read_text().split()
manager = next((w.partition("=")[2] for w in words if w.startswith("--field-manager=")), "kubectl")
if "get" in words:
    items = [dict(metadata=dict(name=n, managedFields=[dict(manager=kept[n])])) for n in names]
    print(json.dumps(items[0] if len(items) == 1 else dict(kind="List", items=items)))
    sys.exit()
wrong = []
for name in names:
    fault = faults.pop(name, None)
    if name in kept:
        wrong.append(f'Error from server (AlreadyExists): error when creating "{{source}}": configmaps "{{name}}" already exists')
    elif fault != "refused":
        kept[name] = manager
    if fault == "lost":
        wrong.append(f'error: error when creating "{{source}}": Post "https://there/api": read: connection reset by peer')
    elif fault == "refused":
        wrong.append('Error from server (TooManyRequests): error when creating "x": too many requests')
    elif not wrong or name not in wrong[-1]:
        print(f"configmap/{{name}} created", flush=True)
(home / "kept").write_text(json.dumps(kept))
(home / "faults").write_text(json.dumps(faults))
sys.exit(chr(10).join(wrong) or 0)
"""


class Stand:
    """A kubectl, and what its cluster keeps: for each object who created it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "kubectl"
        program.write_text(PROGRAM.format(python=sys.executable, home=str(folder)))
        program.chmod(0o755)
        self.kubectl = Kubectl(str(program), Cluster(context="there"), {"PATH": "/usr/bin:/bin"})
        self.log: list[str] = []
        self.set_up("", "")

    def set_up(self, kept: str, faults: str) -> None:
        (self.folder / "kept").write_text(f"{{{kept}}}")
        (self.folder / "faults").write_text(f"{{{faults}}}")

    @property
    def kept(self) -> str:
        return (self.folder / "kept").read_text()

    async def create(self, *names: str, key: str = "k1") -> None:
        (self.folder / "source").write_text("\n".join(names))

        async def log(line: str) -> None:
            self.log.append(line)

        await self.kubectl.act(ObjectAction("create", str(self.folder / "source"), "", key=key), log)

    async def fails_to_create(self, *names: str, key: str = "k1") -> KubectlFailed:
        with pytest.raises(KubectlFailed) as caught:
            await self.create(*names, key=key)
        return caught.value


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


async def test_a_create_that_is_repeated_takes_what_it_has_made_before_for_done(stand: Stand) -> None:
    stand.set_up("", '"b": "lost", "c": "refused"')
    error = await stand.fails_to_create("a", "b", "c")
    assert "connection reset by peer" in error.message
    assert error.hint == "`sbkube run --resume` creates what is not there yet"
    await stand.create("a", "b", "c")
    assert stand.kept == '{"a": "sbkube-k1", "b": "sbkube-k1", "c": "sbkube-k1"}'
    assert stand.log[-1] == "what was there has been created by an earlier attempt of this step"


@pytest.mark.parametrize("key", ["k2", ""])
async def test_a_create_refuses_what_anybody_else_has_made(stand: Stand, key: str) -> None:
    stand.set_up('"a": "sbkube-k1", "b": "somebody"', "")
    assert "already exists" in (await stand.fails_to_create("a", "b")).message
    assert not (await stand.fails_to_create("a", key=key)).transient
    await stand.create("a", key="k1")


async def test_a_create_of_which_something_may_have_been_made_is_not_repeated_by_itself(stand: Stand) -> None:
    stand.set_up("", '"a": "refused"')
    assert (await stand.fails_to_create("a")).transient
    stand.set_up("", '"b": "refused"')
    assert not (await stand.fails_to_create("a", "b")).transient
    stand.set_up("", '"a": "lost"')
    assert not (await stand.fails_to_create("a")).transient


WEBHOOK = 'failed calling webhook "a.b": failed to call webhook: Post "https://x.svc:443/?timeout=10s": '


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?",
            Passing.REFUSED,
        ),
        ("Unable to connect to the server: net/http: TLS handshake timeout", Passing.REFUSED),
        ("Unable to connect to the server: dial tcp 10.0.0.1:6443: i/o timeout", Passing.REFUSED),
        ("Unable to connect to the server: dial tcp: lookup nohost.invalid: no such host", Passing.REFUSED),
        (
            'Error from server (TooManyRequests): error when creating "a": too many requests, please try again later',
            Passing.REFUSED,
        ),
        (
            'Error from server (ServiceUnavailable): error when creating "a": apiserver is shutting down',
            Passing.REFUSED,
        ),
        (
            f'Error from server (InternalError): error when creating "a": Internal error occurred: {WEBHOOK}EOF',
            Passing.REFUSED,
        ),
        (
            (
                'error: error when creating "a": Post "https://x/api/v1": read tcp 1.2.3.4:5->6.7.8.9:1: read: connection '
                "reset by peer"
            ),
            Passing.UNKNOWN,
        ),
        ("Unable to connect to the server: EOF", Passing.UNKNOWN),
        ("Error from server: etcdserver: leader changed", Passing.UNKNOWN),
        (
            (
                "Error from server: error when retrieving current configuration of:\n"
                'Resource: "/v1, Resource=configmaps", GroupVersionKind: "/v1, Kind=ConfigMap"\n'
                'Name: "a", Namespace: "x"\nfrom server for: "a.yaml": etcdserver: request timed out'
            ),
            Passing.UNKNOWN,
        ),
        (
            (
                'Error from server (Timeout): error when creating "a": Timeout: request did not complete within requested '
                "timeout - context deadline exceeded"
            ),
            Passing.UNKNOWN,
        ),
        (
            "Unable to connect to the server: net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
            Passing.UNKNOWN,
        ),
        (
            (
                "Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by unknown "
                "authority"
            ),
            Passing.NO,
        ),
        ("error: You must be logged in to the server (Unauthorized)", Passing.NO),
        ('Error from server (NotFound): error when creating "a": namespaces "x" not found', Passing.NO),
        (
            (
                'Error from server (Forbidden): configmaps is forbidden: User "half" cannot create resource "configmaps"\n'
                "Error from server (TooManyRequests): too many requests"
            ),
            Passing.NO,
        ),
        ("", Passing.NO),
    ],
)
def test_what_kubectl_says_tells_whether_it_may_pass(said: str, expected: Passing) -> None:
    assert passing(said) is expected
