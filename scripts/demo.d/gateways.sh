# Sourced by scripts/demo and scripts/strangers after setup.sh: two gateways of the development PKI, each a process with a private database.
# Takes $work, the folder of the run; leaves $pki, $module, $http_a, $http_b, $smtp_a, $smtp_b, $url_a, $url_b and the processes in $pids.
pki="${SECUREMAIL_DEV_PKI:-$ROOT/certs-dev/made}"
pids=()

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' off=$'\e[0m'; else bold= dim= green= red= off=; fi
step() { printf '\n%s%s%s\n' "$bold" "$*" "$off"; }
say() { printf '  %s\n' "$*"; }
good() { printf '  %s✓%s %s\n' "$green" "$off" "$*"; }
fail() { printf '  %s✗ %s%s\n' "$red" "$*" "$off" >&2; for log in "$work"/*.log; do [ -f "$log" ] && { echo "--- $log" >&2; tail -n 15 "$log" >&2; }; done; exit 1; }

stop_all() {
  trap - EXIT INT TERM
  local pid
  for pid in ${pids[@]+"${pids[@]}"}; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in ${pids[@]+"${pids[@]}"}; do wait "$pid" 2>/dev/null || true; done
}
trap 'stop_all' EXIT
trap 'stop_all; exit 130' INT TERM

sm() { local which=$1; shift; local command=$1; shift; "$EXECUTABLE" "$command" "$@" --config "$work/$which.json"; }

# until_true SECONDS COMMAND...: asks again until it succeeds; the wait is bounded, and a failure is a failure.
until_true() { local limit=$1; shift; local end=$((SECONDS + limit)); until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done; }

# A cluster that an interrupted run left running is stopped by the process id in its own file.
forget_cluster() {
  local name data run pid
  name=$(printf '%s' "$1" | sha256sum | cut -c1-12)
  if [ "$(id -u)" = 0 ]; then data="/var/lib/securemail/$name" run="/run/securemail/$name"; else data="$1" run="${XDG_RUNTIME_DIR:-/tmp}/$( [ -n "${XDG_RUNTIME_DIR:-}" ] && echo securemail || echo "securemail-$(id -un)")/$name"; fi
  if pid=$(head -n 1 "$data/postgres/postmaster.pid" 2>/dev/null) && kill -INT "$pid" 2>/dev/null; then until_true 20 bash -c "! kill -0 $pid 2>/dev/null" || true; fi
  rm -rf "$data" "$run"
}
sockets() { local name; name=$(printf '%s' "$work/$1" | sha256sum | cut -c1-12); if [ "$(id -u)" = 0 ]; then echo "/run/securemail/$name"; elif [ -n "${XDG_RUNTIME_DIR:-}" ] && [ -d "$XDG_RUNTIME_DIR" ]; then echo "$XDG_RUNTIME_DIR/securemail/$name"; else echo "/tmp/securemail-$(id -un)/$name"; fi; }

# An empty folder for the run, and the PKI.
prepare_work() {
  mkdir -p "$work"
  for g in a b; do forget_cluster "$work/$g"; done
  rm -rf "$work"; mkdir -p "$work"; chmod 700 "$work"
  "$ROOT/certs-dev/make" "$pki"
  export SOFTHSM2_CONF="$pki/softhsm2.conf"
  module=$(cat "$pki/module")
}

# Both gateways, ready, with the directory imported.
start_gateways() {
  read -r http_a http_b smtp_a smtp_b < <(python3 -c 'import socket
s = [socket.socket() for _ in range(4)]
for x in s: x.bind(("127.0.0.1", 0))
print(*[x.getsockname()[1] for x in s])')
  python3 - "$ROOT/certs-dev/agencies.json" "$pki" "$work" "$module" "$http_a" "$http_b" "$smtp_a" "$smtp_b" <<'PY'
import json, sys
agencies, pki, work, module, *ports = sys.argv[1:]
agencies = json.load(open(agencies, encoding="utf-8"))["agencies"]
for i, g in enumerate("ab"):
    json.dump({"Name": f"gateway-{g}.test", "Data": g, "Http": f"127.0.0.1:{ports[i]}", "Smtp": f"127.0.0.1:{ports[2 + i]}",
               "Trust": {"Anchors": [f"{pki}/root.pem"], "Intermediates": [f"{pki}/issuing.pem"], "Crls": [f"{pki}/root.crl.pem", f"{pki}/issuing.crl.pem"]},
               "Directory": {"Publisher": f"{pki}/publisher.pem"},
               "Tokens": [{"Uri": f"pkcs11:token={a['label']}?module-path={module}", "PinFile": f"{pki}/agencies/{a['label']}.pin"} for a in agencies if a["gateway"] == g]},
              open(f"{work}/{g}.json", "w"), indent=2)
PY
  for g in a b; do sm $g init --host 127.0.0.1 >"$work/$g.record.json"; done
  SECUREMAIL_DEV_PKI="$pki" "$ROOT/certs-dev/publish" 1 "$work/directory.p7m" a="$work/a.record.json" b="$work/b.record.json"
  for g in a b; do
    "$EXECUTABLE" serve --config "$work/$g.json" >"$work/$g.log" 2>&1 &
    pids+=($!)
  done
  url_a="http://127.0.0.1:$http_a" url_b="http://127.0.0.1:$http_b"
  for url in "$url_a" "$url_b"; do until_true 60 curl -fsS -o /dev/null "$url/health/live" 2>/dev/null || fail "Cổng không khởi động / a gateway did not start"; done
  for g in a b; do sm $g directory import "$work/directory.p7m" >/dev/null || fail "Không nhập được danh bạ"; done
  for url in "$url_a" "$url_b"; do until_true 30 curl -fsS -o /dev/null "$url/health/ready" 2>/dev/null || fail "Cổng chưa sẵn sàng / a gateway is not ready"; done
}
