#!/usr/bin/env bash
# Measures Tollgate, a bare Pingora proxy and NGINX at the same job, in turn and in one run:
# GET /top-10-products?limit=5 becomes /v0/pipes/top-10-products.json?limit=5 with a hidden
# Authorization header, towards a fixed upstream that answers nothing else.
# Then what it costs to know the caller: Tollgate and HAProxy check a token (HS256, its expiry) and
# force a parameter that stands in it, beside the same proxies with a route that is open to everybody.
# And what a limit costs: the same routes of Tollgate with one, counted in memory and, for the wait alone, in Redis.
#
# Usage: benches/end_to_end/run.sh        the table goes into docs/benchmarks.md
#   ROUNDS=5       rounds; in each, everyone is measured once
#   DURATION=5     seconds of load per measurement
#   CONNECTIONS=32 kept-alive connections that make the load
#   PORT=18710     first of ten ports on 127.0.0.1
#   OUTPUT=FILE    another file than docs/benchmarks.md
set -euo pipefail
export LC_ALL=C # EPOCHREALTIME with a point.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PATH="$PATH:/usr/sbin:/sbin" # Debian's nginx.

readonly ROUNDS=${ROUNDS:-5} DURATION=${DURATION:-5} CONNECTIONS=${CONNECTIONS:-32} PORT=${PORT:-18710}
readonly OUTPUT=${OUTPUT:-docs/benchmarks.md}
readonly HERE=benches/end_to_end
readonly TARGET=${CARGO_TARGET_DIR:-target}/release
readonly TOKEN=p.benchmark-token-that-callers-never-see
readonly PUBLIC='/top-10-products?limit=5'
readonly HIDDEN='/v0/pipes/top-10-products.json?limit=5'
readonly OWN='/sales?limit=5'
readonly LIMITED='/limited?limit=5'
readonly OWN_LIMITED='/limited-sales?limit=5'
readonly SECRET=p.the-admin-token-of-a-workspace-signs-the-tokens-of-its-callers
readonly WORKSPACE=9c2a0c2e-0000-4000-8000-000000000001
readonly TOKENS=1000
readonly STARTS=5
readonly PROXIES=(tollgate pingora timed nginx)
# Who lets whom in: everybody, everybody although a token comes along, one token, many in turn.
readonly CALLERS=(tollgate/public tollgate/ignored tollgate/one tollgate/many haproxy/public haproxy/ignored haproxy/one
    haproxy/many nginx/public tollgate/limited tollgate/one_limited)
# Whose wait is compared, one request at a time: who counts where.
readonly COUNTERS=(tollgate/public tollgate/limited redis/limited)
declare -A PORTS=([upstream]=$PORT [tollgate]=$((PORT + 1)) [pingora]=$((PORT + 2)) [nginx]=$((PORT + 3)) [timed]=$((PORT + 4))
    [haproxy]=$((PORT + 6)) [redis]=$((PORT + 7)))
readonly STORE=$((PORT + 9))
readonly ADMIN=$((PORT + 5))
declare -A PIDS=()
work=
load_cpus=()
proxy_cpus=()

main() {
    local tool
    command -v redis-server valkey-server >/dev/null || die "redis-server is missing: .ci/setup bench installs what is not there"
    for tool in cargo nginx haproxy curl wrk python3 awk pgrep; do
        command -v "$tool" >/dev/null || die "$tool is missing: .ci/setup bench installs what is not there"
    done
    trap 'exit 130' INT TERM
    trap clean_up EXIT
    work=$(mktemp -d)
    pin
    build
    write_configs
    python3 $HERE/tokens.py "$SECRET" "$WORKSPACE" "$TOKENS" "$work"
    uptime | sed 's/.*load average: //' >"$work/load_before"

    start upstream nginx -p "$work/upstream" -c nginx.conf -e stderr
    wait_until_ready upstream "$HIDDEN" "Authorization: Bearer $TOKEN"
    measure_starts
    for name in "${PROXIES[@]}"; do
        start_proxy "$name"
        wait_until_ready "$name" "$PUBLIC"
        note memory "$name" '"when": "idle", "kib": '"$(resident "$name")"
    done
    start_proxy haproxy
    for name in haproxy tollgate; do
        wait_until_ready "$name" "$PUBLIC"
        check_callers "$name"
    done
    start store "$(command -v redis-server valkey-server | head -n 1)" --bind 127.0.0.1 --port "$STORE" --save '' --appendonly no
    start_proxy redis
    wait_until_ready redis "$LIMITED"
    for name in tollgate redis; do check_limits "$name"; done
    local round turn
    for ((round = 1; round <= ROUNDS; round++)); do
        say "round $round of $ROUNDS"
        for name in direct "${PROXIES[@]}"; do
            measure "$name" saturated "$CONNECTIONS"
        done
        for name in direct "${PROXIES[@]}"; do
            measure "$name" single 1
        done
        # In short turns: what differs by little is compared with what ran just before.
        for ((turn = 0; turn < DURATION; turn++)); do
            for name in "${CALLERS[@]}"; do measure_callers callers "${name%/*}" "${name#*/}" "$CONNECTIONS"; done
            for name in "${COUNTERS[@]}"; do measure_callers counters "${name%/*}" "${name#*/}" 1; done
        done
    done
    for name in "${PROXIES[@]}"; do
        note memory "$name" '"when": "loaded", "kib": '"$(resident "$name")"
    done
    describe >"$work/machine.json"
    python3 $HERE/report.py "$work" "$OUTPUT"
    say "the table stands in $OUTPUT"
}

# --- What is compared ---

# Both Rust programs in one build: the same versions, profile and allocator.
build() {
    say "building the gateway and the bare proxy (link-time optimisation takes minutes the first time)"
    cargo build --release --locked --features bench-peers --bin tollgate --bin bare_pingora >&2
}

start_proxy() {
    case $1 in
        tollgate) start tollgate "$TARGET/tollgate" run -c "$work/tollgate.yaml" ;;
        pingora) start pingora "$TARGET/bare_pingora" "127.0.0.1:${PORTS[pingora]}" "127.0.0.1:$PORT" "$TOKEN" ;;
        timed) start timed env PINGORA_TIMEOUTS=1 "$TARGET/bare_pingora" "127.0.0.1:${PORTS[timed]}" "127.0.0.1:$PORT" "$TOKEN" ;;
        nginx) start nginx nginx -p "$work/nginx" -c nginx.conf -e stderr ;;
        haproxy) start haproxy haproxy -db -f "$work/haproxy.cfg" ;;
        redis) start redis "$TARGET/tollgate" run -c "$work/redis.yaml" ;;
    esac
}

write_configs() {
    mkdir -p "$work/upstream" "$work/nginx"
    tollgate_config "${PORTS[tollgate]}" "$ADMIN" memory >"$work/tollgate.yaml"
    tollgate_config "${PORTS[redis]}" "$((PORT + 8))" "redis://127.0.0.1:$STORE/0" >"$work/redis.yaml"
    nginx_config "$PORT" >"$work/upstream/nginx.conf" <<NGINX
        # Whoever does not do the whole job is not answered: a wrong answer ends the run.
        location = /v0/pipes/top-10-products.json {
            if (\$args != "limit=5") { return 400; }
            if (\$http_authorization != "Bearer $TOKEN") { return 403; }
            default_type "application/json; charset=utf-8";
            return 200 '$(tr -d '\n' <$HERE/answer.json)';
        }
        location = /v0/pipes/sales.json {
            if (\$args !~ "^limit=5&company_id=tenant-[0-9][0-9][0-9][0-9]\$") { return 400; }
            if (\$http_authorization != "Bearer $TOKEN") { return 403; }
            default_type "application/json; charset=utf-8";
            return 200 '$(tr -d '\n' <$HERE/answer.json)';
        }
NGINX
    nginx_config "${PORTS[nginx]}" >"$work/nginx/nginx.conf" <<NGINX
        location = /top-10-products {
            proxy_pass http://tinybird/v0/pipes/top-10-products.json;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host 127.0.0.1:$PORT;
            proxy_set_header Authorization "Bearer $TOKEN";
        }
NGINX
    haproxy_config >"$work/haproxy.cfg"
}

# tollgate_config PORT ADMIN COUNTERS. The limits refuse nobody: what is measured is to ask them.
tollgate_config() {
    cat <<YAML
listeners: [{ address: "127.0.0.1:$1" }]
admin: { address: "127.0.0.1:$2" }
upstreams:
  tinybird: { url: "http://127.0.0.1:$PORT", token: $TOKEN }
auth:
  dashboards: { type: tinybird_jwt, secret: $SECRET, workspace_id: $WORKSPACE, tenant: "{fixed_params.company_id}" }
default_auth: public
limits:
  flood: { by: ip, rate: 10000000/s, burst: 10000000 }
  per_tenant: { by: tenant, rate: 10000000/s, burst: 10000000 }
routes:
  /top-10-products: { pipe: top-10-products }
  /sales: { pipe: sales, auth: dashboards, params: { fixed: { company_id: "{tenant}" } } }
  /limited: { pipe: top-10-products, limits: [flood] }
  /limited-sales: { pipe: sales, auth: dashboards, params: { fixed: { company_id: "{tenant}" } }, limits: [per_tenant] }
state: { dir: "$work/state-$1", counters: "$3" }
log: { access: off, level: warn }
server: { threads: 1 }
YAML
}

# What HAProxy's documentation shows for `jwt_verify`, and the parameter. It puts the parameter behind the caller's query, and
# leaves one that the caller gave in there.
haproxy_config() {
    cat <<HAPROXY
global
    nbthread 1
    maxconn 2048
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend callers
    bind 127.0.0.1:${PORTS[haproxy]}
    acl own path /sales
    http-request set-var(txn.bearer) http_auth_bearer if own
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('\$.alg') if own
    http-request deny deny_status 401 if own !{ var(txn.alg) -m str HS256 }
    http-request deny deny_status 401 if own !{ var(txn.bearer),jwt_verify(txn.alg,"$SECRET") 1 }
    http-request set-var(txn.now) date() if own
    http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('\$.exp','int') if own
    http-request deny deny_status 401 if own { var(txn.exp),sub(txn.now) lt 1 }
    http-request set-var(txn.tenant) var(txn.bearer),jwt_payload_query('\$.scopes[0].fixed_params.company_id') if own
    http-request deny deny_status 403 if own !{ var(txn.tenant) -m found }
    http-request set-query %[query]&company_id=%[var(txn.tenant)] if own
    http-request set-path /v0/pipes%[path].json
    http-request set-header Authorization "Bearer $TOKEN"
    http-request set-header Host 127.0.0.1:$PORT
    default_backend tinybird
backend tinybird
    server tinybird 127.0.0.1:$PORT
HAPROXY
}

# nginx_config PORT: the frame around the locations on standard input.
nginx_config() {
    cat <<NGINX
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    # A new connection now and then is not what is measured.
    keepalive_requests 1000000000;
    upstream tinybird {
        server 127.0.0.1:$PORT;
        keepalive 64;
        keepalive_requests 1000000000;
    }
    server {
        listen 127.0.0.1:$1;
$(cat)
    }
}
NGINX
}

# --- Measuring ---

# measure NAME KIND CONNECTIONS
measure() {
    local name=$1 kind=$2 connections=$3 port path before after output header=()
    if [ "$name" = direct ]; then
        port=$PORT path=$HIDDEN
        header=(-H "Authorization: Bearer $TOKEN")
    else
        port=${PORTS[$name]} path=$PUBLIC
    fi
    before=$(cpu_ticks "$name")
    output=$("${load_cpus[@]}" wrk -t1 "-c$connections" "-d${DURATION}s" --latency -s $HERE/wrk.lua "${header[@]}" \
        "http://127.0.0.1:$port$path")
    after=$(cpu_ticks "$name")
    output=$(sed -n 's/^SAMPLE //p' <<<"$output")
    [[ $output == *'"wrong": 0'* ]] || die "$name gave wrong answers: $output"
    note "$kind" "$name" "$output, \"ticks\": $((after - before))"
}

# measure_callers KIND NAME WHO CONNECTIONS
measure_callers() {
    local kind=$1 name=$2 who=$3 path=$PUBLIC tokens=$3 before after output
    case $who in
        ignored) tokens=one ;;
        one | many) path=$OWN ;;
        limited) tokens=public path=$LIMITED ;;
        one_limited) tokens=one path=$OWN_LIMITED ;;
    esac
    before=$(cpu_ticks "$name")
    output=$("${load_cpus[@]}" wrk -t1 "-c$4" -d1s --latency -s $HERE/callers.lua \
        "http://127.0.0.1:${PORTS[$name]}$path" -- "$work/$tokens.tokens")
    after=$(cpu_ticks "$name")
    output=$(sed -n 's/^SAMPLE //p' <<<"$output")
    [[ $output == *'"wrong": 0'* ]] || die "$name gave wrong answers to '$who': $output"
    note "$kind" "$name/$who" "$output, \"ticks\": $((after - before))"
}

# A limit that was not asked says nothing; one that Redis was not asked about is not in Redis.
check_limits() {
    local path token
    token=$(cat "$work/one.tokens")
    for path in "$LIMITED" "$OWN_LIMITED"; do
        answers "$1" "$path" "Authorization: Bearer $token" || die "$1 does not answer $path: $(tail -n 5 "$work/$1.log")"
        says_limit "$1" "$path" "Authorization: Bearer $token" || die "$1 asks no limit for $path"
    done
    [ "$1" != redis ] || [ "$(keys_in_store)" -ge 2 ] || die "Redis was not asked: $(tail -n 5 "$work/$1.log")"
}

# Who lets everybody in has nothing to be measured.
check_callers() {
    local token kind
    token=$(cat "$work/one.tokens")
    answers "$1" "$OWN" "Authorization: Bearer $token" || die "$1 does not let a good token in: $(tail -n 5 "$work/$1.log")"
    for kind in forged expired; do
        if answers "$1" "$OWN" "Authorization: Bearer $(cat "$work/$kind.tokens")"; then die "$1 lets a token in that is $kind"; fi
    done
    if answers "$1" "$OWN"; then die "$1 lets in who has no token"; fi
}

# From the start of the program to the first right answer.
measure_starts() {
    local name begin turn
    for name in "${PROXIES[@]}"; do
        for ((turn = 0; turn < STARTS; turn++)); do
            begin=${EPOCHREALTIME/./}
            start_proxy "$name"
            wait_until_ready "$name" "$PUBLIC"
            note start "$name" "\"micros\": $((${EPOCHREALTIME/./} - begin))"
            stop "$name"
        done
    done
}

# The process and its children: NGINX works in a child.
processes() {
    local pid=${PIDS[$1]}
    printf '%s\n' "$pid"
    pgrep -P "$pid" || true
}

# User and system time of all threads.
cpu_ticks() {
    if [ "$1" = direct ]; then
        echo 0
        return
    fi
    local pid sum=0 fields
    for pid in $(processes "$1"); do
        # The name, in parentheses, may have spaces.
        read -ra fields <<<"$(sed 's/.*) //' "/proc/$pid/stat")"
        sum=$((sum + fields[11] + fields[12]))
    done
    echo "$sum"
}

resident() {
    local pid sum=0
    for pid in $(processes "$1"); do
        sum=$((sum + $(awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status")))
    done
    echo "$sum"
}

# note KIND NAME FIELDS
note() { printf '{"kind": "%s", "name": "%s", %s}\n' "$@" >>"$work/samples.jsonl"; }

describe() {
    python3 - "$(date -u +%F)" "$(nproc)" "$(awk -F ': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)" \
        "$(awk '/^MemTotal:/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)" "$(uname -sr)" \
        "$(cat "$work/load_before")" "$("$TARGET/tollgate" version | head -n 1)" \
        "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" \
        "$(awk '/^name = "pingora-core"$/ { getline; gsub(/"/, "", $3); print $3 }' Cargo.lock)" \
        "$(nginx -v 2>&1 | sed 's,.*/,,')" "$(haproxy -v | awk '{ print $3; exit }')" "$(wrk -v 2>&1 | awk '{ print $2; exit }')" "$(rustc --version)" \
        "$(stat -c %s "$TARGET/tollgate")" "$(stat -c %s "$TARGET/bare_pingora")" "$(stat -c %s "$TARGET/bare_pingora")" "$(stat -c %s "$(command -v nginx)")" \
        "${proxy_cpus[*]-}" "$ROUNDS" "$DURATION" "$CONNECTIONS" "$(getconf CLK_TCK)" <<'PYTHON'
import json, sys
keys = """date cores model memory kernel load tollgate commit pingora nginx haproxy wrk rustc size_tollgate size_pingora size_timed
size_nginx pinned rounds duration connections ticks_per_second""".split()
print(json.dumps(dict(zip(keys, sys.argv[1:], strict=True))))
PYTHON
}

# --- Processes ---

# With two cores or more the proxies have the last one to themselves.
pin() {
    local cores
    cores=$(nproc)
    if [ "$cores" -ge 2 ] && command -v taskset >/dev/null; then
        load_cpus=(taskset -c "0-$((cores - 2))")
        proxy_cpus=(taskset -c "$((cores - 1))")
    fi
}

# start NAME COMMAND..
start() {
    local name=$1 cpus=("${proxy_cpus[@]}")
    shift
    [ "$name" != upstream ] || cpus=("${load_cpus[@]}")
    "${cpus[@]}" "$@" >"$work/$name.log" 2>&1 </dev/null &
    PIDS[$name]=$!
}

stop() {
    local pid=${PIDS[$1]-} signal=INT
    [ -n "$pid" ] || return 0
    unset "PIDS[$1]"
    # At once: Pingora waits five seconds on SIGTERM. HAProxy dies of SIGINT, and bash would with it.
    [ "$1" != haproxy ] || signal=TERM
    kill -"$signal" "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

# wait_until_ready NAME TARGET [HEADER]
wait_until_ready() {
    local name=$1 turn
    for ((turn = 0; turn < 2000; turn++)); do
        if answers "$@"; then return; fi
        kill -0 "${PIDS[$name]}" 2>/dev/null || die "$name has ended: $(tail -n 5 "$work/$name.log")"
        sleep 0.002
    done
    die "$name does not answer: $(tail -n 5 "$work/$name.log")"
}

answers() {
    local name=$1 target=$2 field=${3-X-Nothing: 1} line
    {
        exec 3<>"/dev/tcp/127.0.0.1/${PORTS[$name]}" || return 1
        printf 'GET %s HTTP/1.1\r\nHost: bench\r\n%s\r\nConnection: close\r\n\r\n' "$target" "$field" >&3
        read -r line <&3 || line=
        exec 3>&-
    } 2>/dev/null
    [[ $line == 'HTTP/1.1 200 '* ]]
}

keys_in_store() {
    local line
    exec 3<>"/dev/tcp/127.0.0.1/$STORE"
    printf 'DBSIZE\r\n' >&3
    read -r line <&3
    exec 3>&-
    tr -dc 0-9 <<<"$line"
}

# says_limit NAME TARGET HEADER: whether the answer tells how a limit stands.
says_limit() {
    curl -s -o /dev/null -D - -H "$3" "http://127.0.0.1:${PORTS[$1]}$2" | grep -qi '^ratelimit:'
}

clean_up() {
    local status=$? name
    for name in "${!PIDS[@]}"; do stop "$name"; done
    if [ -n "$work" ]; then
        # What was measured is kept, for who wants to look closer.
        mkdir -p .build
        cp "$work/samples.jsonl" .build/end_to_end.jsonl 2>/dev/null || true
        rm -rf "$work"
    fi
    exit "$status"
}

say() { printf 'bench: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

main "$@"
