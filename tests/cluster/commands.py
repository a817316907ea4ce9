"""The command lines of the control plane, and the files they name; all paths are below one folder."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MASTERS = ("admin", "controllers")
USERS = (*MASTERS, "deployer", "viewer", "outsider")
"""The masters may do anything, the others nothing until a test binds a role to them."""
CONTEXT = "sbkube-test"
AUDIT_POLICY = Path(__file__).with_name("audit-policy.yaml")

Command = list[str]


def free_ports() -> Iterator[int]:
    """Ports of loopback below those that the kernel hands out, which it could give away before they are bound."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                yield port


def commands(folder: Path, programs: Mapping[str, Path]) -> tuple[dict[str, Command], str]:
    """The command of each program, and the URL that the API server will have."""
    ports = free_ports()
    etcd, peers = (f"http://127.0.0.1:{next(ports)}" for _ in range(2))
    port = next(ports)
    lines = {
        "etcd": _etcd(folder, etcd, peers),
        "kube-apiserver": _api_server(folder, etcd, port),
        **_controllers(folder, f"--kubeconfig={kubeconfig(folder, 'controllers')}"),
    }
    return {name: [str(programs[name]), *line] for name, line in lines.items()}, f"https://127.0.0.1:{port}"


def _etcd(folder: Path, clients: str, peers: str) -> Command:
    return [
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api_server(folder: Path, etcd: str, port: int) -> Command:
    return [
        f"--etcd-servers={etcd}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--cert-dir={folder}/certs",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC",
        # the key that it makes for its own certificate signs the tokens of service accounts too
        f"--service-account-key-file={folder}/certs/apiserver.key",
        f"--service-account-signing-key-file={folder}/certs/apiserver.key",
        "--service-account-issuer=https://sbkube.test",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--disable-admission-plugins=ServiceAccount",
        f"--audit-policy-file={AUDIT_POLICY}",
        f"--audit-log-path={folder}/audit.log",
    ]


def _controllers(folder: Path, connection: str) -> dict[str, Command]:
    """They serve nothing, so they need no ports."""
    alone = [
        connection,
        "--secure-port=0",
        "--leader-elect=false",
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
    ]
    return {
        "kube-controller-manager": [
            *alone,
            f"--service-account-private-key-file={folder}/certs/apiserver.key",
        ],
        "kube-scheduler": alone,
        "kwok": [
            connection,
            f"--config={folder}/stages.yaml",
            "--cidr=10.128.0.1/16",
            "--manage-all-nodes=true",
            "--node-lease-duration-seconds=40",
        ],
    }


def kubeconfig(folder: Path, user: str) -> Path:
    return folder / ("kubeconfig" if user == "admin" else f"{user}.kubeconfig")


def token(user: str) -> str:
    return f"token-of-{user}"


def tokens() -> str:
    """The users, for `--token-auth-file`."""
    lines = (
        f"{token(user)},{user},{user}" + (",system:masters" if user in MASTERS else "") for user in USERS
    )
    return "\n".join(lines) + "\n"


def kubeconfig_text(folder: Path, server: str, user: str) -> str:
    context = {"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}
    cluster = {"server": server, "certificate-authority": str(folder / "certs" / "apiserver.crt")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "contexts": [context],
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token(user)}}],
    }
    return json.dumps(content, indent=1)


def node(name: str) -> dict[str, Any]:
    """A node with room for everything; kwok keeps it ready."""
    room = {"cpu": "1000", "memory": "1Ti", "pods": "2000"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"allocatable": room, "capacity": room},
    }


def storage() -> list[dict[str, Any]]:
    """A default storage class, and volumes that wait for their claims: nothing here would make any."""
    name, default = "standard", "storageclass.kubernetes.io/is-default-class"
    made = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": {default: "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
    }
    return [made, *(_volume(f"volume-{number}", name) for number in range(1, 21))]


def _volume(name: str, storage_class: str) -> dict[str, Any]:
    spec = {
        "capacity": {"storage": "100Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "hostPath": {"path": "/nowhere"},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
