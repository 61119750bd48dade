#!/usr/bin/env bash
# Provides Chromium in the cache as the program `chromium` in its directory bin: the installed one, or Debian's package with its
# missing libraries, unpacked from their packages. Installs nothing. The fonts are always the same, so that screenshots differ
# only in their content.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cache="${WITAN_CACHE:-$root/.cache}"
folder=$cache/chromium
program=$cache/bin/chromium
[ -e "$folder/ok" ] && [ -x "$program" ] && "$program" --version >/dev/null 2>&1 && exit 0
rm -rf "$folder"
mkdir -p "$cache/bin" "$folder/packages/partial"
installed=$(command -v chromium || true)
# downloads into the cache, and only reads the system's package state
fetch() {
    apt-get --yes --no-install-recommends --download-only --reinstall -o Debug::NoLocking=1 \
        -o "Dir::Cache::archives=$folder/packages/" install "$@"
}
wanted=(fonts-inter fonts-dejavu-core)
[ -n "$installed" ] || wanted+=(chromium)
fetch "${wanted[@]}" >"$folder/apt.log" 2>&1 || {
    apt-get update >>"$folder/apt.log" 2>&1 && fetch "${wanted[@]}" >>"$folder/apt.log" 2>&1
} || { cat "$folder/apt.log" >&2; exit 1; }
for package in "$folder"/packages/*.deb; do dpkg -x "$package" "$folder/unpacked"; done
rm -rf "$folder/packages"
cat >"$folder/fonts.conf" <<FONTS
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>$folder/unpacked/usr/share/fonts</dir>
  <cachedir>$folder/fontcache</cachedir>
  <alias binding="strong"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="strong"><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="strong"><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
FONTS
libraries=$(find "$folder/unpacked/usr/lib" -name '*.so*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd: || true)
cat >"$program.new" <<PROGRAM
#!/bin/sh
export FONTCONFIG_FILE="$folder/fonts.conf"
${installed:+# }export LD_LIBRARY_PATH="$libraries"
exec "${installed:-$folder/unpacked/usr/lib/chromium/chromium}" "\$@"
PROGRAM
chmod 755 "$program.new"
mv "$program.new" "$program"
"$program" --version
touch "$folder/ok"
