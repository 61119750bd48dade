#!/usr/bin/env bash
# Runs etcdctl's own load checks (`check perf` takes a minute, `check datascale` some seconds) against a server: PROGRAM, by
# default $WITAN_BIN. The last line has the form of cargo's test summary.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${WITAN_CACHE:-$root/.cache}/bin
program=$(realpath "${1:-${WITAN_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/witan}}")
[ -x "$program" ] || { echo "$0: no program $program" >&2; exit 2; }
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server"; wait "$server" 2>/dev/null; rm -rf "$work"' EXIT
# shellcheck source=tests/tools/server.sh
. "$here/server.sh"
start_server "$program" "$work" || exit 2
url=http://127.0.0.1:$clear
ok=0 bad=0
check() {
    local said code
    # omits the progress bar and the log
    said=$("$bin/$1" --endpoints "$url" "${@:2}" 2>/dev/null)
    code=$?
    said=$(tr '\r' '\n' <<<"$said" | grep -oE '(PASS|FAIL).*')
    if [ $code -eq 0 ] && grep -q '^PASS' <<<"$said" && ! grep -q '^FAIL' <<<"$said"; then
        ok=$((ok + 1))
    else
        bad=$((bad + 1))
    fi
    printf '%s\n%s\n' "$*" "$said"
}
export ETCDCTL_API=3
check etcdctl36 check perf --load=s
check etcdctl36 check datascale --load=s
check etcdctl34 check datascale --load=s
[ "$bad" -eq 0 ] && word=ok || word=FAILED
echo "test result: $word. $ok passed; $bad failed"
[ "$bad" -eq 0 ]
