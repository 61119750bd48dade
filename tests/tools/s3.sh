#!/usr/bin/env bash
# Builds the S3 server versitygw from Go modules into the cache, once, and prints its path. It keeps objects in a directory and
# checks signatures. go.mod and go.sum in the directory s3 pin the version.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin="${WITAN_CACHE:-$root/.cache}/bin"
module=github.com/versity/versitygw
cd "$here/s3"
program=$bin/versitygw-$(sed -n "s|^require $module v||p" go.mod)
if [ ! -x "$program" ]; then
    command -v go >/dev/null || { echo "s3.sh: go is needed, in the version of go.mod or later" >&2; exit 1; }
    export GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0
    mkdir -p "$bin"
    go build -trimpath -ldflags="-s -w" -o "$program.$$" "$module/cmd/versitygw" >&2
    mv "$program.$$" "$program"
fi
echo "$program"
