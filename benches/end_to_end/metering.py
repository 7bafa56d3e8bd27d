"""Measures what it costs to count usage and to log requests, and what a scrape of many tenants costs.

Usage: metering.py [FILE]    from the project's folder, after `cargo build --release`; FILE is docs/benchmarks.md

The same gateway with usage and log switched off and on, in short turns by turns (TURNS, 15, of one second each); a mebibyte of
JSON in gzip with and without `measure`; then 1 000 tenants on 50 routes, and rounds (ROUNDS, 5) of DURATION (8) seconds with and
without a scrape every second. With valgrind, instructions as well. Ports 18740 to 18749 of 127.0.0.1. Needs nginx and wrk.
"""

import contextlib
import gzip
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import callgrind
import tokens
from processes import process
from report import confidence, judged, spread, sure, write_section

HERE = Path(__file__).parent
PROGRAM = Path(os.environ.get("TOLLGATE") or Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release/tollgate")
TURNS, ROUNDS, DURATION = (int(os.environ.get(name, default)) for name, default in (("TURNS", 15), ("ROUNDS", 5), ("DURATION", 8)))
CONNECTIONS, TENANTS, ROUTES = 32, 1_000, 50
UPSTREAM, FIRST = 18740, 18741
SECRET = "p.the-admin-token-of-a-workspace-signs-the-tokens-of-its-callers"
WORKSPACE = "9c2a0c2e-0000-4000-8000-000000000001"
OFF = "usage: { ledger: false, measure: false }"
# What is compared: sections of the configuration.
VARIANTS = {
    "neither": (OFF, "off"),
    "usage": ("usage: { ledger: true, measure: true }", "off"),
    "log": (OFF, "access.jsonl"),
    "both": ("usage: { ledger: true, measure: true }", "access.jsonl"),
}
TITLES = {"neither": "neither", "usage": "usage: ledger and `measure`", "log": "access log, JSON, to a file", "both": "**both**"}
COST_GOAL, SCRAPE_GOAL, BUMP_GOAL = 2.5, 200, 1.0
BEGIN = "<!-- metering: begin (written by benches/end_to_end/metering.py) -->"
END = "<!-- metering: end -->"
TICK = 1e6 / os.sysconf("SC_CLK_TCK")

NGINX = """daemon off; worker_processes 1; pid nginx.pid; error_log stderr warn;
events { worker_connections 1024; }
http {
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {
        listen 127.0.0.1:%d;
        location / { default_type application/json; return 200 '%s'; }
        location = /v0/pipes/large.json { default_type application/json; add_header Content-Encoding gzip; alias %s/large.gz; }
    }
}
"""


def main(target):
    figures = {"load": os.getloadavg()}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        folder = Path(folder)
        prepare(folder)
        path = os.environ["PATH"] + ":/usr/sbin:/sbin"  # Debian's nginx.
        command = ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
        running.enter_context(process(command, env={**os.environ, "PATH": path}))
        with contextlib.ExitStack() as gateways:
            measured = {name: gateways.enter_context(Gateway(folder, name, port)) for port, name in enumerate(VARIANTS)}
            figures["small"], figures["large"] = costs(folder, measured)
        figures["instructions"] = instructions(folder)
        with Gateway(folder, "scraped", len(VARIANTS)) as gateway:
            figures.update(scrapes(folder, gateway))
    figures["load_after"] = os.getloadavg()
    write_section(target, BEGIN, END, render(figures))


def prepare(folder):
    answer = (HERE / "answer.json").read_text().replace("\n", "")
    (folder / "nginx.conf").write_text(NGINX % (UPSTREAM, answer, folder))
    rows = "".join(f'{{"product":"p{n % 997}","visits":{n * 0x9E3779B97F4A7C15 % 2**64},"share":0.{n * 7919 % 99991}}},\n' for n in range(17_500))
    large = answer.replace('"data":[', '"data":[' + rows, 1).encode()
    assert len(large) > 2**20 and b"rows_read" in large, "a mebibyte that says what it cost"
    (folder / "large.gz").write_bytes(gzip.compress(large, 6))
    # NGINX's worker is another user where the master is root.
    folder.chmod(0o755)
    tokens.main(SECRET, WORKSPACE, 10, folder)
    # Every tenant on every route, one after the other.
    (folder / "fill.lua").write_text(
        f"""local turn
function init(args) turn = tonumber(args[1]) end
function request()
  turn = turn + 1
  local tenant, route = turn % {TENANTS}, math.floor(turn / {TENANTS}) % {ROUTES}
  return wrk.format("GET", "/r" .. route, {{ Host = "tenant-" .. tenant .. ".shops.test" }})
end
dofile("{HERE / 'wrk.lua'}")
"""
    )


class Gateway(contextlib.AbstractContextManager):
    """A gateway of one thread, in one of the variants, or one that is scraped."""

    def __init__(self, folder, name, place, wrapper=()):
        self.folder, self.name, self.wrapper = folder / name, name, wrapper
        self.port, self.admin = FIRST + 2 * place, FIRST + 2 * place + 1
        self.folder.mkdir(exist_ok=True)

    def text(self):
        usage, access = VARIANTS.get(self.name, VARIANTS["usage"])
        lines = [
            f"listeners: [{{ address: '127.0.0.1:{self.port}' }}]",
            f"admin: {{ address: '127.0.0.1:{self.admin}' }}",
            f"upstreams: {{ tinybird: {{ url: 'http://127.0.0.1:{UPSTREAM}', token: p.benchmark }} }}",
            f"auth: {{ dashboards: {{ type: tinybird_jwt, secret: {SECRET}, workspace_id: {WORKSPACE}, tenant: '{{fixed_params.company_id}}' }} }}",
            f"log: {{ access: '{access}', format: json, level: warn }}",
            "server: { threads: 1 }",
            usage,
        ]
        if self.name == "scraped":
            lines.append("hosts: { '*.shops.test': { tenant: '{host.1}' } }")
            lines.append("routes:")
            own = "auth: public, params: { fixed: { shop: '{tenant}' }, allow_public_tenant: true }"
            lines += [f"  /r{route}: {{ pipe: pipe_{route}, {own} }}" for route in range(ROUTES)]
        else:
            lines.append("routes:")
            lines += [f"  /{pipe}: {{ pipe: {pipe}, auth: dashboards, params: {{ fixed: {{ company_id: '{{tenant}}' }} }} }}" for pipe in ("sales",)]
            lines.append("  /large: { pipe: large, auth: public }")
        return "\n".join(lines) + "\n"

    def __enter__(self):
        (self.folder / "tollgate.yaml").write_text(self.text())
        self.log = (self.folder / "log").open("w")
        command = [*self.wrapper, str(PROGRAM.resolve()), "run", "-c", "tollgate.yaml"]
        self.process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)
        for _ in range(1500):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz").read()
                return self
            time.sleep(0.02)
        self.process.kill()
        sys.exit(f"the gateway does not answer: {(self.folder / 'log').read_text()[-2000:]}")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.log.close()

    def ticks(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return int(fields[11]) + int(fields[12])

    def loaded(self, path, *more, script=None, connections=CONNECTIONS, seconds=1):
        """What wrk says; with what a request cost in CPU time, in microseconds."""
        script = script or HERE / "wrk.lua"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), f"http://127.0.0.1:{self.port}{path}", *more]
        before = self.ticks()
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.search(r"^SAMPLE \{?(.*?)\}?$", output, re.MULTILINE)
        sample = json.loads("{" + found[1] + "}")
        if sample.get("wrong") or sample["errors"]:
            sys.exit(f"{self.name} gave wrong answers: {output}")
        sample["cpu"] = (self.ticks() - before) * TICK / sample["requests"]
        return sample


def costs(folder, gateways):
    """CPU time of requests with a token, and of answers of a mebibyte, by variant."""
    small, large = ({name: [] for name in gateways} for _ in range(2))
    (folder / "gzip.lua").write_text(f'wrk.headers["Accept-Encoding"] = "gzip"\ndofile("{HERE / "wrk.lua"}")\n')
    arguments = ["--", str(folder / "one.tokens")]
    for turn in range(TURNS):
        print(f"turn {turn + 1} of {TURNS}", file=sys.stderr)
        # Whoever is first is not always the same.
        names = list(gateways)
        names = names[turn % len(names) :] + names[: turn % len(names)]
        for name in names:
            small[name].append(gateways[name].loaded("/sales?limit=5", *arguments, script=HERE / "callers.lua")["cpu"])
        for name in names:
            if name in ("neither", "usage"):
                large[name].append(gateways[name].loaded("/large", script=folder / "gzip.lua", connections=4)["cpu"])
    return small, large


def instructions(folder):
    """Instructions of a request, by variant; none where there is no valgrind."""
    if not shutil.which("valgrind"):
        return None
    token = (folder / "one.tokens").read_text().strip()
    found = {}
    for name in VARIANTS:
        output = folder / f"{name}.callgrind"
        with Gateway(folder, name, len(VARIANTS), wrapper=callgrind.wrapper(output)) as gateway:
            callgrind.count(gateway.process.pid, callgrind.Caller(gateway.port, "/sales?limit=5", token=token))
        found[name] = callgrind.everywhere(output)
        print(f"instructions, {name}: {found[name]:,.0f}", file=sys.stderr)
    return found


def scrapes(folder, gateway):
    """How long scrapes take, and what those who call notice of them."""
    asked, pairs = 0, TENANTS * ROUTES
    while (found := gateway.scrape()[2]) < pairs:
        if asked > 4 * pairs:
            sys.exit(f"only {found} of {pairs} pairs of tenant and route after {asked} requests")
        # A little of what was on its way when the last one ended is asked for once more.
        start = ["--", str(max(0, asked - 50))]
        asked += gateway.loaded("/r0", *start, script=folder / "fill.lua", connections=8, seconds=2)["requests"]
    before = gateway.ticks()
    took, size, _ = zip(*[gateway.scrape() for _ in range(20)], strict=True)
    cpu = (gateway.ticks() - before) * TICK / 1e3 / len(took)
    (folder / "steady.lua").write_text(f'wrk.headers["Host"] = "tenant-1.shops.test"\ndofile("{HERE / "steady.lua"}")\n')
    quiet, scraped = [], []
    for turn in range(ROUNDS):
        print(f"round {turn + 1} of {ROUNDS}", file=sys.stderr)
        for samples in [quiet, scraped] if turn % 2 else [scraped, quiet]:
            stop = threading.Event()
            scraper = threading.Thread(target=gateway.scrape_every_second, args=[stop])
            if samples is scraped:
                scraper.start()
            samples.append(gateway.loaded("/r1", script=folder / "steady.lua", connections=8, seconds=DURATION))
            stop.set()
            if samples is scraped:
                scraper.join()
    return {"took": took, "took_cpu": cpu, "size": size[-1], "quiet": quiet, "scraped": scraped}


def scrape(gateway):
    """Milliseconds, bytes, and pairs of tenant and route. By curl: a program in Python would be what is measured."""
    page = gateway.folder / "page"
    command = ["curl", "-sS", "--fail", "-o", str(page), "-w", "%{time_total}", f"http://127.0.0.1:{gateway.admin}/metrics/usage"]
    took = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) * 1e3
    text = page.read_bytes()
    return took, len(text), text.count(b'\ntollgate_tenant_response_bytes_total{tenant="tenant-')


def scrape_every_second(gateway, stop):
    # Into nothing: what a Prometheus does with it happens on another machine.
    command = ["curl", "-sS", "--fail", "-o", os.devnull, f"http://127.0.0.1:{gateway.admin}/metrics/usage"]
    while not stop.wait(1):
        subprocess.run(command, check=True)


Gateway.scrape, Gateway.scrape_every_second = scrape, scrape_every_second


def render(figures):
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    before, after = (", ".join(f"{one:.2f}" for one in figures[name]) for name in ("load", "load_after"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    yield f"Measured on {time.strftime('%Y-%m-%d', time.gmtime())}: {model[1] if model else platform.machine()}, {os.cpu_count()} cores, not pinned, commit {commit}; "
    yield f"load average before the run {before}, after it {after}. Command: `TURNS={TURNS} ROUNDS={ROUNDS} DURATION={DURATION} benches/end_to_end/metering.py`."
    yield ""
    counted, small = figures["instructions"], figures["small"]
    yield "| a request with a token, 1 KB of JSON | CPU µs per request | more than neither, µs | to neither | instructions |"
    yield "|---|---:|---:|---:|---:|"
    for name, title in TITLES.items():
        more = [one - other for one, other in zip(small[name], small["neither"], strict=True)]
        ratio = [one / other for one, other in zip(small[name], small["neither"], strict=True)]
        number = f"{round(counted[name], -2):,.0f}".replace(",", " ") if counted else "–"
        rest = ("–", "–") if name == "neither" else (sure(more), sure(ratio, "{:.2f}"))
        yield f"| {title} | {spread(small[name])} | {' | '.join(rest)} | {number} |"
    yield ""
    more = [one - other for one, other in zip(small["both"], small["neither"], strict=True)]
    yield f"{TURNS} turns; the median, and in parentheses where it lies with 95 % confidence (first column: lowest–highest). "
    yield f"Usage and log together: **{sure(more)} µs** of CPU time per request (goal: at most {COST_GOAL} µs, {judged(more, COST_GOAL)})."
    yield ""
    large = figures["large"]
    more = [(one - other) / 1e3 for one, other in zip(large["usage"], large["neither"], strict=True)]
    yield f"An answer of a mebibyte in gzip, {spread([one / 1e3 for one in large['neither']], '{:.2f}')} ms of CPU time as it is: "
    yield f"`measure` adds **{sure(more, '{:+.2f}')} ms**."
    yield ""
    took, quiet, scraped = figures["took"], figures["quiet"], figures["scraped"]
    low, high = confidence(took)
    yield f"`GET /metrics/usage` with {TENANTS:,} tenants on {ROUTES} routes each, {figures['size'] / 2**20:.1f} MiB: **{spread(took, '{:.0f}')} ms** "
    yield f"(goal: below {SCRAPE_GOAL} ms, {'met' if high < SCRAPE_GOAL else '**missed**' if low >= SCRAPE_GOAL else '**not decided**'}), {figures['took_cpu']:.0f} ms of CPU time."
    yield ""
    yield "| 8 connections, each resting 4 ms between requests | p50 µs | p99 µs | p99.9 µs | longest ms |"
    yield "|---|---:|---:|---:|---:|"
    for title, samples in [("without scrapes", quiet), ("a scrape every second", scraped)]:
        cells = [spread([sample[key] for sample in samples], "{:.0f}") for key in ("p50", "p99", "p999")]
        yield f"| {title} | {' | '.join(cells)} | {spread([sample['max'] / 1e3 for sample in samples])} |"
    yield ""
    bump = [(one["p99"] - other["p99"]) / 1e3 for one, other in zip(scraped, quiet, strict=True)]
    yield f"Scrapes add to the p99, within a round: **{sure(bump, '{:+.2f}')} ms** (goal: at most {BUMP_GOAL:.0f} ms, {judged(bump, BUMP_GOAL)})."
    yield ""


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/benchmarks.md"))
