#!/usr/bin/env bash
# Builds etcd 3.6 (etcd36, etcdctl36, etcdutl36) from Go modules into the cache, once.
# The versions and their checksums are pinned by go.mod and go.sum beside this file.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin="${WITAN_CACHE:-$root/.cache}/bin"
[ -e "$bin/etcd36.ok" ] && exit 0
command -v go >/dev/null || { echo "etcd36.sh: go is needed (as new as go.mod says)" >&2; exit 1; }
mkdir -p "$bin"
cd "$here/etcd36"
export GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0
build() {
    go build -trimpath -ldflags="-s -w" -o "$bin/$1.new" "$2"
    mv "$bin/$1.new" "$bin/$1"
}
build etcd36 go.etcd.io/etcd/server/v3
build etcdctl36 go.etcd.io/etcd/etcdctl/v3
build etcdutl36 go.etcd.io/etcd/etcdutl/v3
"$bin/etcd36" --version
touch "$bin/etcd36.ok"
