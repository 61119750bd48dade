#!/usr/bin/env bash
# Unpacks Debian's etcd 3.4 (etcd34, etcdctl34) from its packages into the cache, once. Installs nothing: no service starts, and
# no user is created.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
bin="${WITAN_CACHE:-$root/.cache}/bin"
[ -e "$bin/etcd34.ok" ] && exit 0
mkdir -p "$bin"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# apt downloads as its own user if it can; a directory that this user cannot write to only causes a warning
chmod 755 "$work"
apt-get download etcd-server etcd-client >apt.log 2>&1 || {
    apt-get update >>apt.log 2>&1 && apt-get download etcd-server etcd-client >>apt.log 2>&1
} || { cat apt.log >&2; exit 1; }
for package in ./*.deb; do dpkg -x "$package" unpacked; done
for name in etcd etcdctl; do
    cp "unpacked/usr/bin/$name" "$bin/${name}34.new"
    mv "$bin/${name}34.new" "$bin/${name}34"
done
"$bin/etcd34" --version
touch "$bin/etcd34.ok"
