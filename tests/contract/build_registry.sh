#!/bin/sh
# Prints the path of a registry of the distribution project: Debian's `docker-registry`, else one built here with Go, once.
# Without either it says so on stderr, prints nothing and succeeds: the tests then run on a registry of their own alone.
set -eu
if command -v docker-registry; then
    exit 0
fi
cd "$(dirname "$0")/modules/registry"
version=$(sed -n 's/^require github.com\/distribution\/distribution\/v3 //p' go.mod)
folder="${SBKUBE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sbkube-test}/registry-$version"
if [ ! -x "$folder/registry" ]; then
    if ! command -v go >/dev/null 2>&1; then
        echo "neither a docker-registry here nor Go to build one with: charts come from a registry of the tests' own alone" >&2
        exit 0
    fi
    mkdir -p "$folder"
    # into a folder of its own, then renamed: a build that was broken off is never taken for a registry
    fresh=$(mktemp -d "$folder/building.XXXXXX")
    CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w" -o "$fresh/registry" . >&2
    mv "$fresh/registry" "$folder/registry"
    rmdir "$fresh"
fi
echo "$folder/registry"
