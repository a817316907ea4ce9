#!/bin/sh
# Deploys examples/shop to a real Kubernetes API server, deploys it again, and changes one value. Exits 0 only if
# everything happened as it says. `make demo-cluster` starts the control plane and runs it; with sbkube on PATH and
# KUBECONFIG naming a cluster that may be filled, it runs by itself, too. `helm` and `kubectl` only look.
set -eu

cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r shop "$work/shop"
cd "$work/shop"
rm -rf .sbkube rendered reports

heading() { printf '\n── %s\n' "$*"; }
show() {
    printf '\n$ %s\n' "$*"
    "$@"
}
releases() { helm list --all-namespaces --output json | python -c '
import json, sys
for one in sorted(json.load(sys.stdin), key=lambda one: one["name"]):
    print(one["namespace"], one["name"], one["revision"], one["status"])'; }

heading "Everything, to the cluster: each app is a Helm release"
show sbkube run --target cluster
releases >"$work/first"
show helm list --all-namespaces

heading "Again: nothing has changed, so no release gets a new revision"
show sbkube run --target cluster
releases >"$work/second"
cmp "$work/first" "$work/second"
echo "no new revisions"

heading "One value is edited: one release changes"
printf '  LOG_LEVEL: debug\n' >>values/api.yaml
show sbkube run --resume --target cluster
releases >"$work/third"
changed=$(diff "$work/second" "$work/third" | sed -n 's/^> //p' || true)
echo "changed: $changed"
case $changed in
"shop api 2 deployed") ;;
*) echo "demo: expected release api at revision 2, and nothing else" >&2 && exit 1 ;;
esac

heading "What runs"
show kubectl get deployments,statefulsets,jobs,configmaps --namespace shop

heading "Done"
