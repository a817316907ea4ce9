#!/bin/sh
# Deploys examples/shop with one app broken, looks at what was recorded, and resumes. Exits 0 only if
# everything happened as it says. `make demo` runs it; with sbkube on PATH it runs by itself, too.
set -eu

cd "$(dirname "$0")/shop"
before=$(mktemp)
trap 'rm -f "$before"' EXIT
rm -rf .sbkube rendered reports

heading() { printf '\n── %s\n' "$*"; }

run() { # EXIT_CODE COMMAND...: shows the command, runs it, and insists on how it ends
    wanted=$1
    shift
    printf '\n$ %s\n' "$*"
    code=0
    env "$@" || code=$?
    if [ "$code" -ne "$wanted" ]; then
        echo "demo: \`$*\` ended with exit code $code, not $wanted" >&2
        exit 1
    fi
}

heading "17 apps at once. The migration is broken on purpose: what needs it waits, the rest goes on"
run 1 SHOP_BREAK=migrate sbkube run

heading "What was recorded: real JSON, there at every moment"
run 0 sbkube status
cp .sbkube/runs/latest.json "$before"
python - "$before" <<'PYTHON'
import json, sys

run = json.load(open(sys.argv[1]))
print(f"\n.sbkube/runs/latest.json: run {run['run_id']} is {run['status']}")
for name, step in run["steps"].items():
    if step["status"] not in ("completed", "skipped"):
        print(f"  {name:18} {step['status']:8} {(step.get('error') or '').strip()[:70]}".rstrip())
PYTHON

heading "The cause is mended: only the branch behind it runs"
run 0 sbkube run --resume
python - "$before" .sbkube/runs/latest.json <<'PYTHON'
import json, sys

before, after = (json.load(open(file)) for file in sys.argv[1:])
done = {name for name, step in before["steps"].items() if step["status"] == "completed"}
ran = [name for name, step in after["steps"].items() if step["started_at"] != before["steps"][name]["started_at"]]
print(f"\n{len(done)} steps were kept as they were, {len(ran)} ran: {', '.join(ran)}")
again = sorted(done.intersection(ran))
open_steps = [n for n, step in after["steps"].items() if step["status"] not in ("completed", "skipped")]
if again or open_steps or after["status"] != "completed" or "migrate:deploy" not in ran:
    sys.exit(f"demo: ran again: {again}; not completed: {open_steps}; the run is {after['status']}")
PYTHON

heading "What happened so far"
run 0 sbkube history

heading "What a GitOps repository would get: one folder per app"
find rendered -name '*.yaml' | sort
for app in namespaces postgres api gateway alerts; do
    test -s "rendered/$app/manifests.yaml" || { echo "demo: rendered/$app is missing" >&2; exit 1; }
done
test -s rendered/monitoring/crds.yaml && test -s rendered/api/hooks.yaml && test -s reports/shop.txt

heading "Done. Go on in examples/shop, see its README"
