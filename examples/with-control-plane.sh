#!/bin/sh
# BIN COMMAND...: runs a command with a fresh Kubernetes control plane as its cluster, and ends that whatever happens.
set -eu
bin=$1
shift
folder=$(mktemp -d)
trap '"$bin/python" -m tests.cluster down --folder "$folder" 2>/dev/null || true; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
"$bin/python" -m tests.cluster up --folder "$folder" >"$folder/exports"
. "$folder/exports"
helm=$(sh tests/contract/build_helm.sh)
kubectl=$("$bin/python" -c 'from tests.cluster.binaries import found; print(found()["kubectl"].parent)')
PATH="$bin:${helm%%/helm:*}:$kubectl:$PATH"
export PATH KUBECONFIG
"$@"
