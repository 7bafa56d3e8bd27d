"""Measures what reloading a file of 10 000 routes costs those who call meanwhile, and how much memory it leaves behind.

Usage: reload.py [FILE]    from the project's folder, after `cargo build --release`; FILE is docs/benchmarks.md

Every other second half of the routes change. ROUNDS (5) rounds of DURATION (10) seconds each with and
without reloads, in turn; then 200 reloads. Ports 18730 to 18732 of 127.0.0.1. Needs nginx and wrk.
"""

import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from report import write_section

HERE = Path(__file__).parent
PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release/tollgate"
ROUNDS, DURATION = int(os.environ.get("ROUNDS", 5)), int(os.environ.get("DURATION", 10))
CONNECTIONS, ROUTES, RELOADS = 8, 10_000, 200
UPSTREAM, LISTEN, ADMIN = 18730, 18731, 18732
BEGIN = "<!-- reload: begin (written by benches/end_to_end/reload.py) -->"
END = "<!-- reload: end -->"

NGINX = """daemon off; worker_processes 1; pid nginx.pid; error_log stderr warn;
events { worker_connections 1024; }
http {
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server { listen 127.0.0.1:%d; location / { default_type application/json; return 200 '%s'; } }
}
"""


def main(target):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        processes = []
        try:
            figures = measure(folder, processes)
        finally:
            for process in processes:
                process.send_signal(signal.SIGINT)
                process.wait()
    write_section(target, BEGIN, END, render(figures))


def measure(folder, processes):
    answer = (HERE / "answer.json").read_text().replace("\n", "")
    (folder / "nginx.conf").write_text(NGINX % (UPSTREAM, answer))
    gateway = Gateway(folder)
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    processes.append(subprocess.Popen(command, env={**os.environ, "PATH": path}, **quiet))
    gateway.start()
    processes.append(gateway.process)
    figures = {"load": os.getloadavg(), "quiet": [], "reloading": [], "check": gateway.check()}
    load(2)
    figures["memory"] = {"start": gateway.resident()}
    for turn in range(ROUNDS):
        print(f"round {turn + 1} of {ROUNDS}", file=sys.stderr)
        figures["quiet"].append(load(DURATION))
        stop = threading.Event()
        reloads = threading.Thread(target=gateway.every_second, args=[stop])
        before = gateway.reloaded()
        reloads.start()
        sample = load(DURATION)
        stop.set()
        reloads.join()
        figures["reloading"].append({**sample, "reloads": gateway.reloaded() - before})
    figures["took"] = []
    while gateway.reloaded() < RELOADS:
        figures["took"].append(gateway.reload())
    figures["memory"]["reloaded"] = gateway.resident()
    load(2)
    time.sleep(5)
    figures["memory"]["rest"] = gateway.resident()
    figures["reloads"] = gateway.reloaded()
    return figures


class Gateway:
    def __init__(self, folder):
        self.file, self.log = folder / "tollgate.yaml", folder / "log"
        self.texts = [self.text("a"), self.text("b")]
        self.turn = 0

    def text(self, kind):
        lines = [
            f"listeners: [{{ address: '127.0.0.1:{LISTEN}' }}]",
            f"admin: {{ address: '127.0.0.1:{ADMIN}', token: a-token-for-the-benchmark-only-0123456789 }}",
            f"upstreams: {{ tinybird: {{ url: 'http://127.0.0.1:{UPSTREAM}', token: p.benchmark }} }}",
            "log: { access: off, level: info }",
            "server: { threads: 1 }",
            "routes:",
            "  /top-10-products: { pipe: top-10-products }",
        ]
        for route in range(ROUTES - 1):
            pipe = f"pipe_{route}_{kind}" if route % 2 else f"pipe_{route}"
            lines.append(f"  /reports/{route}: {{ pipe: {pipe}, params: {{ allow: [from, to], fixed: {{ n: x{route} }} }} }}")
        return "\n".join(lines) + "\n"

    def write(self):
        fresh = self.file.with_suffix(".new")
        fresh.write_text(self.texts[self.turn % 2])
        fresh.rename(self.file)
        self.turn += 1

    def start(self):
        self.write()
        command = [str(PROGRAM), "run", "-c", str(self.file)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log.open("w"))
        for _ in range(500):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{LISTEN}/top-10-products").read()
                return
            except OSError:
                time.sleep(0.02)
        sys.exit(f"the gateway does not answer: {self.log.read_text()[-2000:]}")

    def reloaded(self):
        return self.log.read_text().count("reloaded (by")

    def reload(self):
        """The milliseconds from the signal to the end of the reload."""
        before = self.reloaded()
        self.write()
        begin = time.monotonic()
        self.process.send_signal(signal.SIGHUP)
        while self.reloaded() == before:
            if time.monotonic() - begin > 20:
                sys.exit(f"the gateway does not reload: {self.log.read_text()[-2000:]}")
            time.sleep(0.002)
        return (time.monotonic() - begin) * 1e3

    def every_second(self, stop):
        while not stop.wait(1):
            self.reload()

    def resident(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def check(self):
        took = []
        for _ in range(5):
            begin = time.monotonic()
            subprocess.run([str(PROGRAM), "check", "-q", str(self.file)], check=True, stderr=subprocess.DEVNULL)
            took.append((time.monotonic() - begin) * 1e3)
        return took


def load(seconds):
    url = f"http://127.0.0.1:{LISTEN}/top-10-products?limit=5"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(HERE / "steady.lua"), url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(re.search(r"^SAMPLE (.*)$", output, re.MULTILINE)[1])


def render(figures):
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory, quiet, reloading = figures["memory"], figures["quiet"], figures["reloading"]
    yield f"Measured on {time.strftime('%Y-%m-%d', time.gmtime())}: {model[1] if model else platform.machine()}, {os.cpu_count()} cores, not pinned; "
    yield f"load average before the run {', '.join(f'{one:.2f}' for one in figures['load'])}. {CONNECTIONS} connections, each resting 4 ms between requests; "
    yield f"{ROUNDS} rounds of {DURATION} s. Each figure: median (lowest–highest) over the rounds."
    yield ""
    yield "| | requests/s | p50 µs | p99 µs | p99.9 µs | longest ms |"
    yield "|---|---:|---:|---:|---:|---:|"
    for title, samples in [("without reloads", quiet), ("a reload every second", reloading)]:
        rate = spread([sample["requests"] / DURATION for sample in samples])
        rest = [spread([sample[key] for sample in samples]) for key in ("p50", "p99", "p999")]
        yield f"| {title} | {rate} | {' | '.join(rest)} | {spread([sample['max'] / 1e3 for sample in samples])} |"
    yield ""
    ratio = [one["p99"] / other["p99"] for one, other in zip(reloading, quiet, strict=True)]
    yield f"p99 with reloads to p99 without, within a round: **{spread(ratio, '{:.2f}')}**. Requests that failed: {sum(one['errors'] for one in quiet + reloading)}."
    yield ""
    yield f"One reload, from the signal to its end: **{spread(figures['took'])} ms** (goal: below 500). `check` of the same file: **{spread(figures['check'])} ms** (goal: below 500)."
    yield ""
    growth = (memory["rest"] / memory["start"] - 1) * 100
    yield f"Resident memory: {memory['start']:.1f} MiB after the start, {memory['reloaded']:.1f} MiB after {figures['reloads']} reloads, "
    yield f"{memory['rest']:.1f} MiB five seconds later: **{growth:+.0f} %** (goal: within 10 %)."
    yield ""


def spread(values, form="{:.0f}"):
    median, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return median if low == high else f"{median} ({low}–{high})"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/benchmarks.md"))
