# Sourced by the other scripts: finds or installs what they need. Says what it does; installs nothing that is there.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 LC_ALL=C.UTF-8
# MSBuild's helper processes would outlive the script that started them.
export MSBUILDDISABLENODEREUSE=1 DOTNET_CLI_USE_MSBUILD_SERVER=0 UseSharedCompilation=false

# Without this each .NET process opens a diagnostics socket in /tmp, through which its account can be made to write dumps with keys in them.
export DOTNET_EnableDiagnostics=0

if [ "$(id -u)" = 0 ]; then SUDO=""; else SUDO="sudo"; fi

die() { echo "$*" >&2; exit 69; }

# need_packages NAME...: installs those of Debian's packages that are missing.
need_packages() {
  local missing=() p
  for p in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "Cài đặt / installing: ${missing[*]}" >&2
  command -v apt-get >/dev/null || die "Thiếu gói / missing packages: ${missing[*]} (no apt-get here: install them by hand)"
  $SUDO env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 || true
  $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 \
    || die "Không cài được / could not install: ${missing[*]}"
}

# The SDK that global.json names, in its feature band: on the PATH, in the checkout, from the distribution, or by the vendor's script.
sdk_version() { sed -n 's/.*"version": *"\([0-9.]*\)".*/\1/p' "$ROOT/global.json"; }
sdk_serves() { (cd "$ROOT" && "$1" --version >/dev/null 2>&1); }

need_dotnet() {
  local candidate
  # Normalisation and the languages of the words need ICU.
  /sbin/ldconfig -p 2>/dev/null | grep -q 'libicuuc\.so' || (need_packages libicu72) || true
  for candidate in "$(command -v dotnet || true)" "$ROOT/.dotnet/dotnet"; do
    if [ -n "$candidate" ] && [ -x "$candidate" ] && sdk_serves "$candidate"; then use_dotnet "$candidate"; return; fi
  done
  local version major; version=$(sdk_version); major=${version%%.*}.0
  if command -v apt-get >/dev/null; then
    $SUDO env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 || true
    if apt-cache show "dotnet-sdk-$major" >/dev/null 2>&1; then
      need_packages "dotnet-sdk-$major"
      candidate=$(command -v dotnet || true)
      if [ -n "$candidate" ] && sdk_serves "$candidate"; then use_dotnet "$candidate"; return; fi
    fi
  fi
  echo "Tải .NET SDK $version vào .dotnet/ / fetching the .NET SDK $version into .dotnet/" >&2
  (need_packages ca-certificates curl libicu72) || true
  local installer="${DOTNET_INSTALL_SCRIPT:-https://dot.net/v1/dotnet-install.sh}" script
  script=$(mktemp)
  if curl -fsSL --retry 2 --max-time 60 "$installer" -o "$script" 2>/dev/null && bash "$script" --version "$version" --install-dir "$ROOT/.dotnet" --no-path >&2 \
     && sdk_serves "$ROOT/.dotnet/dotnet"; then
    rm -f "$script"; use_dotnet "$ROOT/.dotnet/dotnet"; return
  fi
  rm -f "$script"
  die "Cần .NET SDK $version: cài gói dotnet-sdk-$major, hoặc giải nén SDK vào $ROOT/.dotnet rồi chạy lại. / The .NET SDK $version is needed: install dotnet-sdk-$major, or unpack the SDK into .dotnet and run again."
}

use_dotnet() {
  DOTNET=$1
  # The executable made by the build looks for its runtime here.
  DOTNET_ROOT=$(dirname "$(readlink -f "$1")"); export DOTNET_ROOT
}

EXECUTABLE="$ROOT/src/SecureMail.Host/bin/Release/net10.0/securemail"

# build: only when a source is newer than the executable; one at a time.
build() {
  local newer
  if [ -x "$EXECUTABLE" ] && [ -f "$EXECUTABLE.dll" ]; then
    newer=$(find "$ROOT/src" "$ROOT"/Directory.* "$ROOT/global.json" -newer "$EXECUTABLE.dll" -type f \
      \( -name '*.cs' -o -name '*.csproj' -o -name '*.props' -o -name '*.targets' -o -name '*.sql' -o -name '*.razor' -o -name '*.resx' -o -name global.json \) \
      -not -path '*/obj/*' -not -path '*/bin/*' -print -quit)
    [ -n "$newer" ] || return 0
  fi
  need_dotnet
  local log; log=$(mktemp)
  mkdir -p "$ROOT/artifacts"
  if ! (flock 9; "$DOTNET" build "$ROOT/src/SecureMail.Host" -c Release --nologo -v quiet >"$log" 2>&1) 9>"$ROOT/artifacts/build.lock"; then
    cat "$log" >&2; rm -f "$log"; exit 70
  fi
  rm -f "$log"
  touch "$EXECUTABLE.dll"
}
