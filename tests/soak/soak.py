"""Lets a gateway run at half of what it can do, among faults, and looks whether it stays what it was.

Usage: soak.py [FILE]    from the project's folder, after `cargo build --release`; FILE is docs/soak.md

SECONDS (3600) of callers who are let in by everybody's route and by tokens of 50 tenants, over HTTP/1.1 and HTTP/2; one in twenty
meets a fault of the upstream (500, 503, a reset). Beside them callers who leave, in a head, in a body, before and within an
answer; a reload every minute; a scrape every five seconds. Every answer says who asked for it. Every ten seconds memory, files,
threads, latency and what was wrong are noted. Exit status 1 if a goal is missed. TOLLGATE names another program.
Ports 18750 to 18752 of 127.0.0.1. Needs nginx, wrk, h2load and curl.
"""

import contextlib
import json
import os
import platform
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "benches/end_to_end"))

import tokens  # noqa: E402
from processes import process  # noqa: E402
from report import write_section  # noqa: E402

PROGRAM = Path(os.environ.get("TOLLGATE") or Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release/tollgate")
SECONDS, WINDOW, SCRAPE, RELOAD = int(os.environ.get("SECONDS", 3600)), 10, 5, 60
CONNECTIONS, STREAMS, TENANTS = 8, 4, 50
UPSTREAM, LISTEN, ADMIN = 18750, 18751, 18752
# What may come of a hundred thousand requests in memory, in MiB; and of the whole run in open files.
MEMORY_GOAL, FILES_GOAL, END_GOAL = 1.0, 16, 5.0
# Of the run, before which nothing is judged: caches fill, pools grow.
WARM_UP = 0.2
SECRET = "p.the-admin-token-of-a-workspace-signs-the-tokens-of-its-callers"
WORKSPACE = "9c2a0c2e-0000-4000-8000-000000000001"
BEGIN = "<!-- soak: begin (written by tests/soak/soak.py) -->"
END = "<!-- soak: end -->"

NGINX = """daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
    access_log off; keepalive_requests 1000000000; reset_timedout_connection on;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {
        listen 127.0.0.1:%d;
        location / {
            default_type application/json;
            if ($arg_fault = 500) { return 500 '{"error":"it broke"}'; }
            if ($arg_fault = 503) { return 503 '{"error":"not now"}'; }
            if ($arg_fault = reset) { return 444; }
            return 200 '{"id":"$arg_id","company":"$arg_company_id","statistics":{"elapsed":0.001,"rows_read":10,"bytes_read":100}}';
        }
        location = /v0/pipes/large.json { default_type application/json; alias %s/large.json; limit_rate 2m; }
    }
}
"""


def main(target):
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        folder = Path(folder)
        prepare(folder)
        path = os.environ["PATH"] + ":/usr/sbin:/sbin"  # Debian's nginx.
        running.enter_context(process(["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"], env={**os.environ, "PATH": path}))
        gateway = running.enter_context(Gateway(folder))
        figures = soak(folder, gateway)
        figures["end"] = gateway.end()
    figures["goals"] = judged(figures)
    write_section(target, BEGIN, END, render(figures))
    sys.exit(0 if all(met for met, _ in figures["goals"]) else 1)


def prepare(folder):
    (folder / "nginx.conf").write_text(NGINX % (UPSTREAM, folder))
    (folder / "large.json").write_text('{"data":[' + ",".join(['{"n":18446744073709551615}'] * 40_000) + "]}")
    # NGINX's worker is another user where the master is root.
    folder.chmod(0o755)
    tokens.main(SECRET, WORKSPACE, TENANTS, folder)


class Gateway(contextlib.AbstractContextManager):
    def __init__(self, folder):
        self.folder = folder / "gateway"
        self.folder.mkdir()
        self.file, self.turn, self.said = self.folder / "tollgate.yaml", 0, ""

    def text(self):
        """Every other time other routes, another upstream and another limit, so that a reload has something to do."""
        other = self.turn % 2
        lines = [
            f"listeners: [{{ address: '127.0.0.1:{LISTEN}' }}]",
            f"admin: {{ address: '127.0.0.1:{ADMIN}' }}",
            f"upstreams: {{ t: {{ url: 'http://127.0.0.1:{UPSTREAM}', token: p.soak, retry: {{ attempts: 2, base: 1ms, max: 2ms }} }} }}",
            f"auth: {{ page: {{ type: tinybird_jwt, secret: {SECRET}, workspace_id: {WORKSPACE}, tenant: '{{fixed_params.company_id}}' }} }}",
            f"limits: {{ each: {{ by: tenant, rate: {1_000_000 + other}/s }} }}",
            "log: { access: stdout, format: json, level: warn }",
            "usage: { ledger: true, measure: true }",
            "routes:",
            "  /public: { pipe: public, auth: public }",
            "  /large: { pipe: large, auth: public }",
            "  /upload: { proxy: /upload, auth: public, methods: [POST] }",
            "  /sales: { pipe: sales, auth: page, limits: [each], params: { fixed: { company_id: '{tenant}' } } }",
        ]
        lines += [f"  /more/{other}/{route}: {{ pipe: pipe_{route}, auth: page }}" for route in range(500)]
        return "\n".join(lines) + "\n"

    def write(self):
        fresh = self.file.with_suffix(".new")
        fresh.write_text(self.text())
        fresh.rename(self.file)
        self.turn += 1

    def __enter__(self):
        self.write()
        self.log = (self.folder / "log").open("w")
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        self.process = subprocess.Popen([str(PROGRAM.resolve()), "run", "-c", "tollgate.yaml"], cwd=self.folder, stderr=self.log, **quiet)
        for _ in range(1500):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{ADMIN}/readyz").read()
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.process.kill()
        sys.exit(f"the gateway does not answer: {self.words()[-2000:]}")

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.log.close()

    def words(self):
        return (self.folder / "log").read_text()

    def reload(self):
        self.write()
        self.process.send_signal(signal.SIGHUP)

    def state(self):
        place = Path(f"/proc/{self.process.pid}")
        status = (place / "status").read_text()
        number = lambda name: int(re.search(rf"{name}:\s+(\d+)", status)[1])  # noqa: E731
        return {"rss": number("VmRSS") / 1024, "threads": number("Threads"), "files": len(list((place / "fd").iterdir()))}

    def metric(self, name):
        text = urllib.request.urlopen(f"http://127.0.0.1:{ADMIN}/metrics").read().decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))

    def end(self):
        """What is still held once nobody calls, and how long it takes to end."""
        time.sleep(2)
        held, reloads = self.metric("tollgate_in_flight"), self.metric("tollgate_config_last_reload_successful")
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            status = None
        return {"held": held, "reload": reloads, "status": status, "took": time.monotonic() - begin, "panics": self.words().count("panicked")}


def soak(folder, gateway):
    """Saturation, then windows of load at half of it."""
    figures = {"load": os.getloadavg(), "samples": [], "what": []}
    print("saturation", file=sys.stderr)
    full = window(folder, 0, 0, "full")
    figures["full"] = full["answers"] / WINDOW
    figures["rate"] = figures["full"] / 2
    figures["what"] += full["what"]
    rest, stop, left = 2_000 * CONNECTIONS / figures["rate"], threading.Event(), [0]
    beside = [
        threading.Thread(target=every, args=[stop, RELOAD, gateway.reload]),
        threading.Thread(target=every, args=[stop, SCRAPE, scrape]),
        threading.Thread(target=leave, args=[stop, left]),
    ]
    for thread in beside:
        thread.start()
    begin, asked = time.monotonic(), 0
    while time.monotonic() - begin < SECONDS:
        # While they call: afterwards their connections are gone.
        state = {}
        look = threading.Timer(WINDOW * 0.8, lambda: state.update(gateway.state()))  # noqa: B023
        look.start()
        sample = window(folder, rest, max(1, figures["rate"] / 10 / STREAMS), f"w{len(figures['samples'])}")
        look.join()
        asked += sample["answers"]
        sample.update(state, at=time.monotonic() - begin, asked=asked)
        figures["samples"].append(sample)
        figures["what"] += sample["what"]
        # What a request takes is not known, and changes; the rate is to stay.
        rest = min(1000, max(1, rest * min(2, max(0.5, sample["paced"] / WINDOW / figures["rate"]))))
        print("{at:.0f} s: {asked} answers, {rss:.1f} MiB, {files} files, {threads} threads, p50 {p50:.0f} us, p99 {p99:.0f} us, {wrong} wrong".format(**sample), file=sys.stderr)
    stop.set()
    for thread in beside:
        thread.join()
    figures["left"], figures["reloads"] = left[0], gateway.turn - 1
    return figures


def window(folder, rest, streams, word):
    """What ten seconds of callers say. Those of HTTP/2 are only counted: their program cannot look into answers."""
    commands = []
    for name, file in (("public", "public"), ("token", "many")):
        arguments = ["-s", str(HERE / "callers.lua"), f"http://127.0.0.1:{LISTEN}/", "--", f"{word}-{name}", f"{rest:.3f}", str(folder / f"{file}.tokens"), "faults"]
        commands.append(["wrk", f"-t{CONNECTIONS}", f"-c{CONNECTIONS}", f"-d{WINDOW}s", "--timeout", "10s", "--latency", *arguments])
    if streams:
        h2 = [f"--rps={streams:.0f}", f"-D{WINDOW}", "-m10", f"-c{STREAMS}", "-t1"]
        commands.append(["h2load", *h2, f"http://127.0.0.1:{LISTEN}/public?id=h2"])
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for command in commands]
    said = [child.communicate()[0] for child in running]
    found = []
    for text in said[:2]:
        sample = re.search(r"^SAMPLE (.*)$", text, re.MULTILINE)
        if not sample:
            sys.exit(f"wrk says {text[-2000:]}")
        found.append(json.loads(sample[1]))
    paced = sum(one["answers"] for one in found)
    total = {"paced": paced, "answers": paced, "wrong": sum(one["wrong"] + one["errors"] for one in found), "refused": sum(one["refused"] for one in found)}
    total["p50"], total["p99"] = statistics.mean(one["p50"] for one in found), max(one["p99"] for one in found)
    total["what"] = [one["what"] or f"{one['errors']} connections broke off" for one in found if one["wrong"] or one["errors"]]
    for text in said[2:]:
        counted = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", text)
        codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
        if not counted or not codes:
            sys.exit(f"h2load says {text[-2000:]}")
        failed = int(counted[3]) + sum(int(number) for number in codes.groups()[1:])
        total["answers"] += int(codes[1])
        total["wrong"] += failed
        total["what"] += [f"over HTTP/2: {counted[0]}; {codes[0]}"] * bool(failed)
    return total


def every(stop, seconds, act):
    while not stop.wait(seconds):
        act()


def scrape():
    for page in ("metrics", "metrics/usage"):
        subprocess.run(["curl", "-sS", "--fail", "-o", os.devnull, f"http://127.0.0.1:{ADMIN}/{page}"], check=True)


def leave(stop, left):
    """Callers who go away: without a word, in a head, in a body, before an answer, within one. Each by a reset."""
    head = "GET /{} HTTP/1.1\r\nHost: x\r\n".format
    upload = "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhalf"
    ways = [("", 0), (head("public"), 0), (upload, 0), (head("public?id=left") + "\r\n", 0), (head("large") + "\r\n", 5000)]
    while not stop.wait(0.05):
        said, awaited = ways[left[0] % len(ways)]
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", LISTEN), timeout=10) as caller:
            caller.sendall(said.encode())
            while awaited > 0 and (piece := caller.recv(4096)):
                awaited -= len(piece)
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        left[0] += 1


def warm(figures):
    """The samples that count, of which there must be some."""
    samples = figures["samples"]
    return samples[int(len(samples) * WARM_UP) :]


def slope(pairs):
    """Least squares."""
    (xs, ys) = zip(*pairs, strict=True)
    x, y = statistics.mean(xs), statistics.mean(ys)
    spread = sum((one - x) ** 2 for one in xs)
    return sum((one - x) * (other - y) for one, other in pairs) / spread if spread else 0.0


def judged(figures):
    """Each goal: whether it is met, and in words."""
    samples, end = warm(figures), figures["end"]
    grown = slope([(one["asked"] / 1e5, one["rss"]) for one in samples])
    quarter = max(1, len(samples) // 4)
    files = statistics.median(one["files"] for one in samples[-quarter:]) - statistics.median(one["files"] for one in samples[:quarter])
    wrong = sum(one["wrong"] for one in figures["samples"])
    return [
        (grown < MEMORY_GOAL, f"Resident memory grows by **{grown:+.2f} MiB** with each 100 000 requests (goal: below {MEMORY_GOAL:.0f} MiB)"),
        (abs(files) <= FILES_GOAL, f"Open files from the first quarter to the last: **{files:+.0f}** (goal: within {FILES_GOAL})"),
        (wrong == 0, f"Wrong answers, broken connections, answers of others: **{wrong}** (goal: none)"),
        (end["held"] == 0 and end["panics"] == 0, f"Held for anybody once nobody calls: **{end['held']:.0f}**; panics: **{end['panics']}** (goal: none)"),
        (end["reload"] == 1 and figures["reloads"] >= SECONDS // RELOAD - 1, f"Reloads: **{figures['reloads']}**, the last {'good' if end['reload'] == 1 else 'failed'} (goal: one a minute, all good)"),
        (end["status"] == 0 and end["took"] <= END_GOAL, f"SIGTERM: ended with status **{end['status']}** after **{end['took']:.1f} s** (goal: 0, within {END_GOAL:.0f} s)"),
    ]


def render(figures):
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    samples, load = figures["samples"], ", ".join(f"{one:.2f}" for one in figures["load"])
    yield f"**{duration(SECONDS)}** on {time.strftime('%Y-%m-%d', time.gmtime())}: {model[1] if model else platform.machine()}, {os.cpu_count()} cores, commit {commit}; load average before the run {load}. "
    yield f"Saturation {figures['full']:,.0f} requests/s, so {figures['rate']:,.0f}/s were made, and a tenth of that over HTTP/2: {samples[-1]['asked']:,} answers, of which {sum(one['refused'] for one in samples):,} met a fault of the upstream. "
    yield f"{figures['left']:,} callers left. Judged from {duration(samples[-1]['at'] * WARM_UP)} on."
    yield ""
    for met, words in figures["goals"]:
        yield f"- {words}: {'met' if met else '**missed**'}."
    for what in figures["what"][:5]:
        yield f"- Wrong: `{what}`"
    yield ""
    yield "| at | answers | memory MiB | open files | threads | p50 µs | p99 µs | wrong |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|"
    shown = sorted({round(turn * (len(samples) - 1) / 12) for turn in range(13)})
    wrong = 0
    for turn, one in enumerate(samples):
        wrong += one["wrong"]
        if turn in shown:
            yield f"| {one['at']:.0f} s | {one['asked']:,} | {one['rss']:.1f} | {one['files']} | {one['threads']} | {one['p50']:.0f} | {one['p99']:,.0f} | {wrong} |"
    yield ""


def duration(seconds):
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/soak.md"))
