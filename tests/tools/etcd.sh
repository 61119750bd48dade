#!/usr/bin/env bash
# Builds an etcd release (etcdNN, etcdctlNN, etcdutlNN) from Go modules into the cache, once:
#
#   tests/tools/etcd.sh 36|37
#
# go.mod and go.sum in the directory etcdNN pin the versions.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin="${WITAN_CACHE:-$root/.cache}/bin"
version=${1:?$(sed -n 4p "$0")}
[ -e "$bin/etcd$version.ok" ] && exit 0
command -v go >/dev/null || { echo "etcd.sh: go is needed, in the version of go.mod or later" >&2; exit 1; }
export GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0

cd "$here/etcd$version"
if [ -e programs.go ]; then
    # Go's protobuf inserts a space after commas in JSON depending on the hash of the program, which would make texts differ.
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cp ./* "$work"
    cd "$work"
    go mod vendor
    printf 'package detrand\n\nfunc Disable() {}\nfunc Bool() bool { return false }\nfunc Intn(n int) int { return 0 }\n' \
        >vendor/google.golang.org/protobuf/internal/detrand/rand.go
    export GOFLAGS=-mod=vendor
fi
mkdir -p "$bin"
build() {
    go build -trimpath -ldflags="-s -w" -o "$bin/$1.new" "$2"
    mv "$bin/$1.new" "$bin/$1"
}
build "etcd$version" go.etcd.io/etcd/server/v3
build "etcdctl$version" go.etcd.io/etcd/etcdctl/v3
build "etcdutl$version" go.etcd.io/etcd/etcdutl/v3
"$bin/etcd$version" --version
touch "$bin/etcd$version.ok"
