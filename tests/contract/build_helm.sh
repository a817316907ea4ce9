#!/bin/sh
# Builds the helm binaries that the contract tests compare with, once per version, and prints their paths joined by `:`.
# Without Go it says so on stderr, prints nothing and succeeds: the tests then run on the embedded Helm alone.
set -eu
cache="${SBKUBE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sbkube-test}"
paths=

build() { # version, package
    folder="$cache/helm-$1"
    if [ ! -x "$folder/helm" ]; then
        mkdir -p "$folder"
        # into a folder of its own, then renamed: a build that was broken off is never taken for a helm
        fresh=$(mktemp -d "$folder/building.XXXXXX")
        GOBIN="$fresh" GOFLAGS=-mod=mod CGO_ENABLED=0 go install "$2@$1" >&2
        mv "$fresh/helm" "$folder/helm"
        rmdir "$fresh"
    fi
    paths="${paths:+$paths:}$folder/helm"
}

if [ ! -x "$cache/helm-v4.2.3/helm" ] || [ ! -x "$cache/helm-v3.22.0/helm" ]; then
    if ! command -v go >/dev/null 2>&1; then
        echo "no Go to build helm with: the helm contract runs on the embedded Helm alone" >&2
        exit 0
    fi
fi
build v4.2.3 helm.sh/helm/v4/cmd/helm
build v3.22.0 helm.sh/helm/v3/cmd/helm
echo "$paths"
