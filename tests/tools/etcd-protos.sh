#!/usr/bin/env bash
# Copies etcd 3.7's .proto files from Go modules into the cache, for the test that compares Witan's messages with them. Uses the
# pins of etcd.sh 37.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
protos="${WITAN_CACHE:-$root/.cache}/etcd-protos"
[ -e "$protos/ok" ] && exit 0
command -v go >/dev/null || { echo "etcd-protos.sh: go is needed, in the version of go.mod or later" >&2; exit 1; }
cd "$here/etcd37"
export GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOWORK=off
folder() {
    go mod download "$1"
    go list -m -f '{{.Dir}}' "$1"
}
api=$(folder go.etcd.io/etcd/api/v3)
server=$(folder go.etcd.io/etcd/server/v3)
mkdir -p "$protos"
for file in "$api"/{etcdserverpb/rpc,mvccpb/kv,authpb/auth}.proto \
    "$server"/etcdserver/api/{v3lock/v3lockpb/v3lock,v3election/v3electionpb/v3election}.proto; do
    install -m 644 "$file" "$protos/"
done
touch "$protos/ok"
