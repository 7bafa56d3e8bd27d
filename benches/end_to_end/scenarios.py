"""Gives the same jobs to Tollgate, a bare Pingora proxy, NGINX, HAProxy and Caddy, side by side in short turns.

Usage: scenarios.py [FILE]    from the project's folder, after `cargo build --release --features bench-peers`; FILE is docs/benchmarks.md

  TURNS=15       turns of each job; in each, every peer that can do it has SECONDS
  SECONDS=1      of load for one peer in one turn
  IDLE=10000     connections that are kept and say nothing
  ONLY=job,job   some of the jobs

Every peer has one thread (NGINX: one worker) and the last core to itself, the load and the upstream (NGINX) have the rest. CPU time is that of the
peer's processes, user and system. Ratios are taken within a turn. Ports 18760 to 18779 of 127.0.0.1. Needs nginx, haproxy, caddy, wrk, h2load.
"""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tokens
from processes import process
from report import confidence, spread, sure, table, write_section

HERE = Path(__file__).parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release"
TURNS, SECONDS, IDLE = (int(os.environ.get(name, usual)) for name, usual in (("TURNS", 15), ("SECONDS", 1), ("IDLE", 10_000)))
ONLY = [job for job in os.environ.get("ONLY", "").split(",") if job]
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
# Connections of the constant rate; requests a second beside a crowd; what the guarded gateway takes at once.
CALLERS, FEW, IN_FLIGHT = 16, 496, 32
# HAProxy wants two files for each connection that it may have.
IDLE = min(IDLE, FILES // 2 - 200)
CORES = os.cpu_count() or 1
LOAD_CPUS, PEER_CPU = (f"0-{CORES - 2}", f"{CORES - 1}") if CORES > 1 else ("0", "0")
UPSTREAM, FIRST = 18760, 18761
TOKEN = "p.benchmark-token-that-callers-never-see"
SECRET = "p.the-admin-token-of-a-workspace-signs-the-tokens-of-its-callers"
WORKSPACE = "9c2a0c2e-0000-4000-8000-000000000001"
ROUTES, HOSTS = 10_000, 1_000
NAME = "bench.test"
BEGIN = "<!-- scenarios: begin (written by benches/end_to_end/scenarios.py) -->"
END = "<!-- scenarios: end -->"
TITLES = {"tollgate": "**Tollgate**", "pingora": "bare Pingora", "nginx": "NGINX", "haproxy": "HAProxy", "caddy": "Caddy"}
PATIENCE = 60
# What a request of each job is, who can do it, and what Tollgate may need of it: a peer, and the ratio to that peer's CPU time.
JOBS = {
    "public": ("a hidden token for everybody, 1 KB of JSON", list(TITLES), {"pingora": 1.10, "nginx": 2.3, "caddy": 1 / 2.5}),
    # The bare proxy does nothing of it: it is the floor.
    "token": ("HS256, the tenant's parameter, a limit by tenant, usage counted; 1,000 tenants", ["tollgate", "pingora", "haproxy"], {"pingora": 1.25}),
    "many": (f"one of {ROUTES:,} paths on {HOSTS:,} hosts", ["tollgate", "nginx", "haproxy"], {}),
    "h2": ("HTTP/2 over TLS 1.3, 4 connections with 8 requests each", ["tollgate", "nginx", "haproxy", "caddy"], {}),
    "post": ("64 KiB up, 1 KB down", list(TITLES), {}),
    "retry": ("5 % of the upstream's answers are 503, and asked for again", ["tollgate", "nginx", "haproxy"], {}),
    "stream": ("100 MiB down, where a request is one of these", ["tollgate", "nginx", "haproxy", "caddy"], {}),
}


def main(target):
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # Debian's nginx and haproxy.
    for tool in ("nginx", "haproxy", "caddy", "wrk", "h2load", "taskset", "openssl"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: .ci/setup bench installs what is not there")
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        folder = Path(folder)
        prepare(folder)
        running.enter_context(process(["taskset", "-c", LOAD_CPUS, "nginx", "-p", str(folder), "-c", "upstream.conf", "-e", "stderr"]))
        peers = {name: running.enter_context(Peer(folder, name, port)) for port, name in enumerate(TITLES)}
        samples = {job: turns(folder, job, peers) for job in JOBS if not ONLY or job in ONLY}
        half = half_load(folder, peers) if not ONLY or "half" in ONLY else {}
        memory = {}
        if not ONLY or "memory" in ONLY:
            memory = {name: (peers[name].start, None if name == "pingora" else peers[name].through(11), *crowded(folder, peers[name])) for name in TITLES}
        guarded = overload(folder) if not ONLY or "overload" in ONLY else None
    write_section(target, BEGIN, END, render(samples, half, memory, guarded, load))
    if samples and not ONLY:
        chart(samples, target.with_name("benchmarks.svg"))


# --- What is compared ---


def prepare(folder):
    # NGINX's workers are another user where the master is root.
    folder.chmod(0o755)
    tokens.main(SECRET, WORKSPACE, 1000, folder)
    subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", str(folder / "key.pem")]
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", *key, "-out", str(folder / "cert.pem"), *subject]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    (folder / "large").write_bytes(os.urandom(1 << 20) * 100)
    (folder / "large").chmod(0o644)
    (folder / "body").write_bytes(b"x" * (64 << 10))
    (folder / "post.lua").write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {64 << 10})\ndofile("{HERE / "wrk.lua"}")\n')
    (folder / "many.lua").write_text(
        f"""local turn = 0
function request()
  turn = turn + 7919
  return wrk.format("GET", "/r" .. turn % {ROUTES} .. "?limit=5", {{ Host = "h" .. turn % {HOSTS} .. ".shops.test" }})
end
dofile("{HERE / "wrk.lua"}")
"""
    )
    answer = (HERE / "answer.json").read_text().replace("\n", "")
    json_type = 'default_type "application/json; charset=utf-8";'
    right = f'if ($http_authorization != "Bearer {TOKEN}") {{ return 403; }} {json_type}'
    upstream = f"""
    split_clients "$request_id" $fails {{ 5% 1; * 0; }}
    server {{
        listen 127.0.0.1:{UPSTREAM};
        # Whoever does not do the whole job is not answered: a wrong answer ends the run.
        location = /v0/pipes/top-10-products.json {{ if ($args != "limit=5") {{ return 400; }} {right} return 200 '{answer}'; }}
        location = /v0/pipes/sales.json {{ if ($args !~ "^limit=5&company_id=tenant-[0-9]+$") {{ return 400; }} {right} return 200 '{answer}'; }}
        location = /v0/pipes/flaky.json {{ if ($fails) {{ return 503; }} {right} return 200 '{answer}'; }}
        location = /v0/events {{ client_max_body_size 1m; client_body_buffer_size 128k; {right} return 200 '{answer}'; }}
        location = /large {{ {right} alias {folder}/large; }}
    }}"""
    (folder / "upstream.conf").write_text(nginx(upstream))


def nginx(servers):
    return f"""daemon off; worker_processes 1; pid nginx-{time.time_ns()}.pid; error_log stderr crit; worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
    access_log off; keepalive_requests 1000000000; http2_max_requests 1000000000; keepalive_timeout 600s;
    server_names_hash_max_size 8192; client_max_body_size 1m; client_body_buffer_size 128k;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    {servers}
}}
"""


def tollgate_file(folder, port, marks=""):
    many = "\n".join(f"  /r{route}: {{ pipe: top-10-products }}" for route in range(ROUTES))
    # A host each would be 1 000 tables of the same paths: all have those of the top level.
    hosts = "\n".join(f"  h{host}.shops.test: {{}}" for host in range(HOSTS))
    own = "{ pipe: sales, auth: dashboards, params: { fixed: { company_id: '{tenant}' } }, limits: [per_tenant] }"
    return f"""listeners: [{{ address: "127.0.0.1:{port}" }}, {{ address: "127.0.0.1:{port + 1}", tls: true }}]
admin: {{ address: "127.0.0.1:{port + 2}" }}
upstreams:
  tinybird: {{ url: "http://127.0.0.1:{UPSTREAM}", token: {TOKEN}, retry: {{ on: [429, 500, 503], base: 1ms, budget: 50% }} }}
auth:
  dashboards: {{ type: tinybird_jwt, secret: {SECRET}, workspace_id: {WORKSPACE}, tenant: "{{fixed_params.company_id}}" }}
default_auth: public
limits: {{ per_tenant: {{ by: tenant, rate: 10000000/s, burst: 10000000 }} }}
tls: {{ default: {{ cert: {folder}/cert.pem, key: {folder}/key.pem }} }}
hosts:
  127.0.0.1: {{}}
  {NAME}: {{}}
{hosts}
routes:
  /top-10-products: {{ pipe: top-10-products }}
  /sales: {own}
  /flaky: {{ pipe: flaky }}
  /events: {{ proxy: /v0/events, methods: [POST] }}
  /large: {{ proxy: /large }}
{many}
state: {{ dir: {folder}/state }}
log: {{ access: off, level: warn }}
server: {{ threads: 1, keepalive: 10m, overload: {{ connections: 1000000, connections_per_address: 1000000{marks} }} }}
"""


def nginx_file(folder, port):
    to = f'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host 127.0.0.1:{UPSTREAM}; proxy_set_header Authorization "Bearer {TOKEN}";'
    names = " ".join(f"h{host}.shops.test" for host in range(HOSTS))
    many = "\n".join(
        f"location = /r{route} {{ proxy_pass http://tinybird/v0/pipes/top-10-products.json; {to} }}" for route in range(ROUTES)
    )
    return nginx(f"""
    upstream tinybird {{ server 127.0.0.1:{UPSTREAM}; keepalive 64; keepalive_requests 1000000000; }}
    # It asks nobody twice: for it the same address is two servers.
    upstream twice {{ server 127.0.0.1:{UPSTREAM} max_fails=0; server 127.0.0.1:{UPSTREAM} max_fails=0; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} default_server; listen 127.0.0.1:{port + 1} ssl http2;
        ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem; ssl_protocols TLSv1.3;
        location = /top-10-products {{ proxy_pass http://tinybird/v0/pipes/top-10-products.json; {to} }}
        location = /flaky {{ proxy_pass http://twice/v0/pipes/flaky.json; proxy_next_upstream http_503; {to} }}
        location = /events {{ proxy_pass http://tinybird/v0/events; proxy_request_buffering off; {to} }}
        location = /large {{ proxy_pass http://tinybird/large; proxy_buffering off; {to} }}
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name {names};
        {many}
    }}""")


def haproxy_file(folder, port):
    (folder / "routes.map").write_text("".join(f"/r{route} /v0/pipes/top-10-products.json\n" for route in range(ROUTES)))
    (folder / "hosts.list").write_text("".join(f"h{host}.shops.test\n" for host in range(HOSTS)))
    return f"""global
    nbthread 1
    maxconn {FILES // 2 - 100}
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout http-keep-alive 600s
    timeout server 60s
    http-reuse always
frontend callers
    bind 127.0.0.1:{port}
    bind 127.0.0.1:{port + 1} ssl crt {folder}/both.pem alpn h2 ssl-min-ver TLSv1.3
    acl own path /sales
    http-request set-var(txn.bearer) http_auth_bearer if own
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg') if own
    http-request deny deny_status 401 if own !{{ var(txn.alg) -m str HS256 }}
    http-request deny deny_status 401 if own !{{ var(txn.bearer),jwt_verify(txn.alg,"{SECRET}") 1 }}
    http-request set-var(txn.now) date() if own
    http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int') if own
    http-request deny deny_status 401 if own {{ var(txn.exp),sub(txn.now) lt 1 }}
    http-request set-var(txn.tenant) var(txn.bearer),jwt_payload_query('$.scopes[0].fixed_params.company_id') if own
    http-request deny deny_status 403 if own !{{ var(txn.tenant) -m found }}
    http-request track-sc0 var(txn.tenant) table tenants if own
    http-request deny deny_status 429 if own {{ sc_http_req_rate(0,tenants) gt 10000000 }}
    http-request set-query %[query]&company_id=%[var(txn.tenant)] if own
    acl of_many path_beg /r
    http-request deny deny_status 404 if of_many !{{ req.hdr(host),field(1,:) -f {folder}/hosts.list }}
    http-request set-path %[path,map({folder}/routes.map)] if of_many
    http-request set-path /v0%[path] if {{ path /events }}
    http-request set-path /v0/pipes%[path].json if {{ path /top-10-products /sales /flaky }}
    http-request set-header Authorization "Bearer {TOKEN}"
    http-request set-header Host 127.0.0.1:{UPSTREAM}
    default_backend tinybird
backend tenants
    stick-table type string len 64 size 100k expire 10m store http_req_rate(10s)
backend tinybird
    retry-on 503 conn-failure
    retries 2
    server tinybird 127.0.0.1:{UPSTREAM}
"""


def caddy_file(folder, port):
    to = f"reverse_proxy 127.0.0.1:{UPSTREAM} {{\n header_up Host 127.0.0.1:{UPSTREAM}\n header_up Authorization \"Bearer {TOKEN}\"\n }}"
    jobs = f"""
    handle /top-10-products {{
        rewrite * /v0/pipes/top-10-products.json?{{query}}
        {to}
    }}
    handle /events {{
        rewrite * /v0/events
        {to}
    }}
    handle /large {{
        {to}
    }}"""
    return f"""{{
    admin off
    auto_https off
    log default {{
        level ERROR
    }}
}}
http://127.0.0.1:{port} {{
    bind 127.0.0.1
    {jobs}
}}
https://{NAME}:{port + 1} {{
    bind 127.0.0.1
    tls {folder}/cert.pem {folder}/key.pem
    {jobs}
}}
"""


class Peer(contextlib.AbstractContextManager):
    """A proxy that runs, with its processes."""

    def __init__(self, folder, name, place):
        self.name, self.folder, self.port = name, folder, FIRST + 3 * place

    def command(self):
        folder, port = self.folder, self.port
        match self.name:
            case "tollgate":
                (folder / "tollgate.yaml").write_text(tollgate_file(folder, port))
                return [str(TARGET.resolve() / "tollgate"), "run", "-c", str(folder / "tollgate.yaml")]
            case "guarded":
                text = tollgate_file(folder, port, f", in_flight: {IN_FLIGHT}").replace(f"{folder}/state", f"{folder}/guarded")
                (folder / "guarded.yaml").write_text(text)
                return [str(TARGET.resolve() / "tollgate"), "run", "-c", str(folder / "guarded.yaml")]
            case "pingora":
                return [str(TARGET.resolve() / "bare_pingora"), f"127.0.0.1:{port}", f"127.0.0.1:{UPSTREAM}", TOKEN]
            case "nginx":
                (folder / "nginx.conf").write_text(nginx_file(folder, port))
                return ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
            case "haproxy":
                (folder / "haproxy.cfg").write_text(haproxy_file(folder, port))
                return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
            case "caddy":
                (folder / "Caddyfile").write_text(caddy_file(folder, port))
                return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]

    def __enter__(self):
        more = {"GOMAXPROCS": "1", "HOME": str(self.folder)} if self.name == "caddy" else {}
        self.log = (self.folder / f"{self.name}.log").open("w")
        command = ["taskset", "-c", PEER_CPU, *self.command()]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env={**os.environ, **more})
        begin = time.monotonic()
        end = begin + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as connection:
                if call(connection, "/top-10-products?limit=5"):
                    # Seconds until the first answer.
                    self.start = time.monotonic() - begin
                    return self
            time.sleep(0.01)
        text = (self.folder / f"{self.name}.log").read_text()[-3000:]
        self.__exit__()
        sys.exit(f"{self.name} does not answer: {text}")

    def __exit__(self, *_):
        # At once: Pingora waits on SIGTERM, and HAProxy does not know SIGINT.
        self.process.send_signal(signal.SIGTERM if self.name in ("haproxy", "caddy") else signal.SIGINT)
        self.process.wait()
        self.log.close()

    def processes(self):
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        return [self.process.pid, *map(int, found)]

    def cpu(self):
        """Microseconds of CPU time so far, of all threads."""
        total = 0
        for pid in self.processes():
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    total += int((task / "schedstat").read_text().split()[0])
        return total / 1e3

    def resident(self):
        """KiB of memory."""
        text = "".join(Path(f"/proc/{pid}/status").read_text() for pid in self.processes())
        return sum(map(int, re.findall(r"^VmRSS:\s+(\d+)", text, re.MULTILINE)))

    @contextlib.contextmanager
    def crowd(self):
        """Connections that were answered once and then say nothing; KiB of memory for each."""
        before, kept = self.resident(), []
        try:
            for _ in range(IDLE):
                connection = socket.create_connection(("127.0.0.1", self.port))
                kept.append(connection)
                if not call(connection, "/top-10-products?limit=5"):
                    sys.exit(f"{self.name} gave a wrong answer on connection {len(kept)}")
            time.sleep(1)
            yield (self.resident() - before) / IDLE
        finally:
            for connection in kept:
                connection.close()

    def through(self, times):
        """MiB of memory more, at most, while so many times 100 MiB pass."""
        before, most = self.resident(), 0
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            for _ in range(times):
                if not call(connection, "/large"):
                    sys.exit(f"{self.name} broke off within a large answer")
                most = max(most, self.resident())
        return max(0, most - before) / 1024


def call(connection, target):
    """Whether a request on a connection is answered, wholly and well."""
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    got = b""
    while b"\r\n\r\n" not in got:
        if not (piece := connection.recv(65536)):
            return False
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    left = int(length[1]) - len(body) if length else 0
    while left > 0:
        if not (piece := connection.recv(1 << 20)):
            return False
        left -= len(piece)
    return head.startswith(b"HTTP/1.1 200")


# --- Measuring ---


def turns(folder, job, peers):
    """For each peer, CPU microseconds and requests a second, turn by turn."""
    names = JOBS[job][1]
    found = {name: [] for name in names}
    for turn in range(TURNS):
        say(f"{job}: turn {turn + 1} of {TURNS}")
        # Whoever is first is not always the same.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            before, begin = peers[name].cpu(), time.monotonic()
            requests, wrong = loaded(folder, job, peers[name])
            cpu, took = peers[name].cpu() - before, time.monotonic() - begin
            # Of a hundred tries that may be repeated twice, a few fail three times.
            if wrong > (requests / 100 if job == "retry" else 0) or not requests:
                sys.exit(f"{name} gave {wrong} wrong answers of {requests} to '{job}': {(folder / f'{name}.log').read_text()[-2000:]}")
            found[name].append((cpu / requests, requests / took))
    return found


def loaded(folder, job, peer):
    """Has a peer work; requests that were answered, and wrong answers among them."""
    if job == "h2":
        url = f"https://{NAME}:{peer.port + 1}/top-10-products?limit=5"
        command = ["h2load", "-t1", "-c4", "-m8", f"-D{SECONDS}", "--connect-to", f"127.0.0.1:{peer.port + 1}", url]
        output = subprocess.run(["taskset", "-c", LOAD_CPUS, *command], check=True, capture_output=True, text=True).stdout
        statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
        return int(statuses[1]), sum(int(statuses[group]) for group in (2, 3, 4))
    path, script, more, connections = {
        "public": ("/top-10-products?limit=5", HERE / "wrk.lua", [], 32),
        "token": ("/sales?limit=5", HERE / "callers.lua", ["--", str(folder / "many.tokens")], 32),
        "many": ("/", folder / "many.lua", [], 32),
        "post": ("/events", folder / "post.lua", [], 16),
        "retry": ("/flaky?limit=5", HERE / "wrk.lua", [], 32),
        "stream": ("/large", HERE / "wrk.lua", [], 2),
    }[job]
    if peer.name == "pingora" and job == "post":
        path = "/"
    seconds = SECONDS * 3 if job == "stream" else SECONDS
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), f"http://127.0.0.1:{peer.port}{path}", *more]
    output = subprocess.run(["taskset", "-c", LOAD_CPUS, *command], check=True, capture_output=True, text=True).stdout
    sample = json.loads("{" + re.search(r"^SAMPLE \{?(.*?)\}?$", output, re.MULTILINE)[1] + "}")
    return sample["requests"], sample["wrong"]


def half_load(folder, peers):
    """Latency in microseconds at half of what each peer can do, at a constant rate; and at the same rate without it."""
    found = {}
    for name in TITLES:
        most = statistics.median(loaded(folder, "public", peers[name])[0] / SECONDS for _ in range(3))
        # On a busy machine the generator may not come to half of what the fastest did: the figures are then of the rate it does come to.
        for part in (0.5, 0.45, 0.4, 0.3, 0.2):
            rate = max(CALLERS, int(most * part) // CALLERS * CALLERS)
            say(f"half load: {name}, {rate} a second")
            rounds = at_rate(folder, peers[name].port, rate)
            if rounds:
                found[name] = (rate, rounds)
                break
        else:
            sys.exit(f"port {peers[name].port} did not get even {rate} requests a second: the machine is too busy to measure")
    return found


def at_rate(folder, port, rate):
    """Five pairs of latencies, through a peer and without it; None when the load could not be made."""
    rounds = []
    for _ in range(5):
        through = constant(folder, port, rate, "/top-10-products")
        without = through and constant(folder, UPSTREAM, rate, "/v0/pipes/top-10-products.json")
        if not without:
            return None
        rounds.append((through, without))
    return rounds


def constant(folder, port, rate, path):
    """p50, p99 and p99.9 at a constant rate, in microseconds; None when the load could not be made.

    One h2load for each connection: one alone asks on all of its connections in the same moment, and then measures how long it takes
    to answer 16 requests that came together.
    """
    logs, callers = [folder / f"h2load.{turn}.log" for turn in range(CALLERS)], []
    own = ["-H", f"Authorization: Bearer {TOKEN}"] if port == UPSTREAM else []
    with contextlib.ExitStack() as running:
        for log in logs:
            log.unlink(missing_ok=True)
            command = ["h2load", "--h1", "-t1", "-c1", "-m1", f"--rps={rate / CALLERS}", f"-D{SECONDS * 2}", f"--log-file={log}", *own, f"http://127.0.0.1:{port}{path}?limit=5"]
            caller = running.enter_context(subprocess.Popen(["taskset", "-c", LOAD_CPUS, *command], stdout=subprocess.DEVNULL))
            callers.append(caller)
    if any(caller.returncode for caller in callers):
        sys.exit(f"h2load failed towards port {port}")
    lines = [line.split() for log in logs for line in log.read_text().splitlines()]
    if any(line[1] != "200" for line in lines):
        sys.exit(f"port {port} gave wrong answers at {rate} a second")
    if len(lines) < rate * SECONDS * 2 * 0.9:
        say(f"only {len(lines)} requests in {SECONDS * 2} s towards port {port}, not {rate} a second: the load could not be made")
        return None
    times = sorted(int(line[2]) for line in lines)
    return [times[min(len(times) - 1, int(len(times) * part))] for part in (0.5, 0.99, 0.999)]


def crowded(folder, peer):
    """KiB for a connection that says nothing, and the p99 of few requests in microseconds: alone, and beside many of these."""

    def few():
        # One p99 of few is the tenth slowest request, which says more about the machine.
        rounds = [constant(folder, peer.port, FEW, "/top-10-products") for _ in range(5)]
        return statistics.median(latencies[1] for latencies in rounds if latencies)

    alone = few()
    with peer.crowd() as each:
        return each, alone, few()


def overload(folder):
    """A gateway that takes few requests at once: with as many callers as that, and with three times as many."""
    say("overload")
    with Peer(folder, "guarded", len(TITLES)) as peer:
        log, found = folder / "overload.log", []
        for callers in (IN_FLIGHT, IN_FLIGHT * 3):
            log.unlink(missing_ok=True)
            before = peer.resident()
            command = ["h2load", "--h1", "-t1", f"-c{callers}", "-m1", f"-D{SECONDS * 5}", f"--log-file={log}", f"http://127.0.0.1:{peer.port}/top-10-products?limit=5"]
            subprocess.run(["taskset", "-c", LOAD_CPUS, *command], check=True, capture_output=True)
            answers = [line.split() for line in log.read_text().splitlines()]
            times = {status: sorted(int(time) for _, of, time, *_ in answers if of == status) for status in ("200", "429")}
            if len(times["200"]) + len(times["429"]) != len(answers):
                sys.exit(f"the guarded gateway gave answers that are neither 200 nor 429 to {callers} callers")
            if not times["200"] or (callers > IN_FLIGHT and not times["429"]):
                sys.exit(f"the guarded gateway answered {len(times['200'])} of {callers} callers' requests and refused {len(times['429'])}")
            found.append((callers, times, peer.resident() - before))
        return found


# --- Telling ---


def render(samples, half, memory, guarded, load):
    yield f"Load average before the run {load[0]:.2f}; {TURNS} turns of {SECONDS} s for each peer and job, one after the other. CPU time of the proxy, user and system, for "
    yield "a request: the median of the turns and, for ratios, in parentheses where it lies with 95 % confidence."
    yield ""
    for job, found in samples.items():
        words, _, goals = JOBS[job]
        yield f"**{job}**: {words}."
        yield ""
        rows = []
        for name, group in found.items():
            ratios = [own[0] / other[0] for own, other in zip(found["tollgate"], group, strict=True)]
            rows.append([TITLES[name], spread([cpu for cpu, _ in group]), spread([rate for _, rate in group], "{:,.0f}"), "–" if name == "tollgate" else sure(ratios, "{:.2f}")])
        yield from table(["", "CPU µs per request", "requests/s", "Tollgate to this one"], rows)
        for peer, goal in goals.items():
            ratios = [own[0] / other[0] for own, other in zip(found["tollgate"], found[peer], strict=True)]
            low, high = confidence(ratios)
            judged = "met" if high <= goal else "**missed**" if low > goal else "**not decided** by this run"
            yield f"Goal: at most {goal:.2f} times {TITLES[peer]}: {judged}. "
        if goals:
            yield ""
    if {"public", "many"} <= samples.keys():
        flat = [many[0] / one[0] for many, one in zip(samples["many"]["tollgate"], samples["public"]["tollgate"], strict=True)]
        yield f"Tollgate, one of {ROUTES:,} paths on {HOSTS:,} hosts to the route for everybody: {sure(flat, '{:.2f}')}."
        yield ""
    if half:
        yield "**At half of what each can do**, or as much of that as the load generator comes to: a constant rate on 16 connections; without a proxy at the same rate, in turn."
        yield ""
        rows = []
        for name, (rate, rounds) in half.items():
            through = [spread([own[at] for own, _ in rounds], "{:.0f}") for at in range(3)]
            added = spread([own[1] - direct[1] for own, direct in rounds], "{:+.0f}")
            rows.append([TITLES[name], f"{rate:,}", *through, added])
        yield from table(["", "requests/s", "p50 µs", "p99 µs", "p99.9 µs", "p99 more than without, µs"], rows)
    if memory:
        yield f"**Memory and start**: {IDLE:,} connections that were answered once and then say nothing; 1.1 GiB in answers of 100 MiB, one after the other, and what"
        yield f"is held more meanwhile; the time until the first answer (Tollgate, NGINX and HAProxy know {ROUTES:,} routes on {HOSTS:,} hosts); the p99 of {FEW} requests a"
        yield "second, alone and beside these connections."
        yield ""
        rows = [
            [TITLES[name], f"{each:.1f}", "–" if large is None else f"{large:.1f}", f"{start * 1e3:.0f}", f"{alone}", f"{beside}"]
            for name, (start, large, each, alone, beside) in memory.items()
        ]
        yield from table(["", "KiB for a connection", "MiB more for large answers", "start, ms", "p99 µs alone", "beside"], rows)
        start, large, each, alone, beside = memory["tollgate"]
        for goal, met in (
            ("at most 40 KiB for a connection, better 20", each <= 40),
            ("less than 20 MiB more for large answers", large < 20),
            ("a start in less than a second", start < 1),
            ("less than three times the p99 beside a crowd", beside < 3 * alone),
        ):
            yield f"Goal: {goal}: {'met' if met else '**missed**'}. "
        yield ""
    if guarded:
        (_, usual, _), (callers, times, _) = guarded
        yield f"**Overload**: `server.overload.in_flight: {IN_FLIGHT}`, and {callers} callers who ask again as soon as they are answered, refused or not."
        yield ""
        rows = [[f"{who}", f"{len(of['200']):,}", f"{p99(of['200'])}", f"{len(of['429']):,}", f"{p99(of['429'])}", f"{kib / 1024:+.1f}"] for who, of, kib in guarded]
        yield from table(["callers", "answered", "p99 µs", "refused with 429", "p99 µs", "memory, MiB"], rows)
        ratio, wait = p99(times["200"]) / p99(usual["200"]), p99(times["429"]) / 1e3
        yield f"Who is answered waits {ratio:.1f} times as long (goal: less than 4: {'met' if ratio < 4 else '**missed**'}), who is refused {wait:.1f} ms (goal: 5: {'met' if wait <= 5 else '**missed**'})."
        yield ""


def p99(times):
    """Of sorted times; 0 of none."""
    return times[int(len(times) * 0.99)] if times else 0


def chart(samples, target):
    """CPU time of every job as bars, for who reads pictures."""
    rows = [(job, name, statistics.median(cpu for cpu, _ in group)) for job, found in samples.items() if job != "stream" for name, group in found.items()]
    longest, height = max(cpu for _, _, cpu in rows), 18 * len(rows) + 22 * len({job for job, _, _ in rows}) + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="18" font-weight="bold">CPU microseconds per request (less is better)</text>',
    ]
    y, shown = 30, None
    for job, name, cpu in rows:
        if job != shown:
            y, shown = y + 22, job
            lines.append(f'<text x="10" y="{y - 4}" font-weight="bold">{job}: {JOBS[job][0].replace("&", "and")}</text>')
        color = "#2457a7" if name == "tollgate" else "#9aa7b8"
        lines.append(f'<text x="10" y="{y + 12}">{TITLES[name].strip("*")}</text>')
        lines.append(f'<rect x="110" y="{y + 2}" width="{540 * cpu / longest:.0f}" height="13" fill="{color}"/>')
        lines.append(f'<text x="{116 + 540 * cpu / longest:.0f}" y="{y + 12}">{cpu:.0f}</text>')
        y += 18
    target.write_text("\n".join([*lines, "</svg>", ""]))
    say(f"the chart is {target}")


def say(text):
    print(f"bench: {text}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/benchmarks.md"))
