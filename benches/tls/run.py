#!/usr/bin/env python3
"""Compares full TLS 1.3 handshakes of Tollgate, NGINX and Caddy, and the memory that 10 000 certificates take.

Usage: benches/tls/run.py        the tables go into docs/benchmarks.md, between two marks
  ROUNDS=7          rounds; in each, everyone is measured once
  DURATION=4        seconds of handshakes per measurement
  CONNECTIONS=8     handshakes at a time
  CERTIFICATES=10000
  PORT=18750        first of four ports on 127.0.0.1
  OUTPUT=FILE       another file than docs/benchmarks.md

All serve one certificate from a file (ECDSA P-256), from one thread on one core; what makes the handshakes has another
(`handshakes.rs`: no resumption, the certificate compared, TLS' own end awaited). CPU time is that of the server, user and
system, all its processes: connecting, handshake, session tickets, closing.
"""

import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

BEGIN = "<!-- tls: begin (written by benches/tls/run.py) -->"
END = "<!-- tls: end -->"
ROUNDS, DURATION, CONNECTIONS, CERTIFICATES, PORT = (
    int(os.environ.get(name, usual))
    for name, usual in [("ROUNDS", 7), ("DURATION", 4), ("CONNECTIONS", 8), ("CERTIFICATES", 10_000), ("PORT", 18750)]
)
OUTPUT = Path(os.environ.get("OUTPUT", "docs/benchmarks.md"))
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release"
SERVERS = {"tollgate": "**Tollgate**", "nginx": "NGINX", "caddy": "Caddy"}
GOAL = 0.8
MEMORY_GOAL = 10.0
PATIENCE = 120
# With two cores or more the servers have the last one to themselves.
CORES = os.cpu_count() or 1
LOAD_CPUS, SERVER_CPU = (f"0-{CORES - 2}", f"{CORES - 1}") if CORES > 1 else ("0", "0")
NAME = "h0.bench.test"


def main():
    os.chdir(Path(__file__).parents[2])
    # Debian's nginx lives there.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for tool in ["cargo", "nginx", "caddy", "taskset"]:
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: .ci/setup bench installs what is not there")
    say("building the gateway and what makes the handshakes (link-time optimisation takes minutes the first time)")
    build = ["cargo", "build", "--release", "--locked", "--features", "bench-peers", "--bin", "tollgate", "--bin", "handshakes"]
    subprocess.run(build, check=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        machine = describe()
        say(f"making {CERTIFICATES} certificates")
        for name in ["now", "next"]:
            (folder / name).mkdir()
            run("handshakes", "certificates", folder / name, str(CERTIFICATES))
        rates, samples = handshakes(folder)
        memory = {name: memory_of(name, folder) for name in SERVERS}
        machine["load after"] = load_average()
    section = "\n".join([BEGIN, "", *render(machine, rates, samples, memory), END])
    write(section)
    print(section)


# --- Handshakes ---


def handshakes(folder):
    """Handshakes per CPU second, and the samples behind them, by server."""
    rates, samples = defaultdict(list), defaultdict(list)
    servers = {name: Server(name, folder, 1, "certificates", PORT + at) for at, name in enumerate(SERVERS)}
    try:
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            for name, server in servers.items():
                before = server.cpu_seconds()
                sample = server.load(DURATION)
                sample["cpu"] = server.cpu_seconds() - before
                rates[name].append(sample["handshakes"] / sample["cpu"])
                samples[name].append(sample)
    finally:
        for server in servers.values():
            server.stop()
    return rates, samples


class Server:
    """A running server with so many hosts, with a certificate for each or with none for all."""

    def __init__(self, name, folder, hosts, kind, port):
        self.folder, self.port = folder, port
        self.home = folder / f"{name}-{hosts}-{kind}"
        self.home.mkdir()
        is_tls = kind == "certificates"
        command, environment = {"tollgate": tollgate, "nginx": nginx, "caddy": caddy}[name](self, hosts, is_tls)
        self.said = self.home / "said"
        with open(self.said, "wb") as said:
            self.process = subprocess.Popen(
                ["taskset", "-c", SERVER_CPU, *command], stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                env={**os.environ, **environment},
            )  # fmt: skip
        self.wait(is_tls)

    def wait(self, is_tls):
        """Until it answers."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            if self.answers() if is_tls else self.listens():
                return
            time.sleep(0.05)
        sys.exit(f"{self.home.name} does not answer: {self.said.read_text()[-2000:]}")

    def answers(self, which="now"):
        command = [TARGET / "handshakes", "load", f"127.0.0.1:{self.port}", NAME, self.folder / which / "0.pem", "1", "1"]
        return self.listens() and subprocess.run(command, capture_output=True, check=False).returncode == 0

    def listens(self):
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def load(self, seconds, which="now"):
        said = run(
            "handshakes", "load", f"127.0.0.1:{self.port}", NAME, self.folder / which / "0.pem", str(CONNECTIONS), str(seconds)
        )
        return json.loads("{" + said.removeprefix("SAMPLE ") + "}")

    def processes(self):
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [self.process.pid, *map(int, children.stdout.split())]

    def cpu_seconds(self):
        ticks = 0
        for pid in self.processes():
            # The name, in parentheses, may have spaces.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident(self):
        """KiB; what processes share is counted once."""
        sizes = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.processes()]
        return sum(int(line.split()[1]) for text in sizes for line in text.splitlines() if line.startswith("Pss:"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM if "nginx" in self.home.name else signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def tollgate(server, hosts, is_tls):
    tls = lambda number: f"{{ tls: {{ cert: '{server.folder}/now/{number}.pem', key: '{server.folder}/now/{number}.key' }} }}"
    lines = [
        f"listeners: [{{ address: '127.0.0.1:{server.port}', tls: {str(is_tls).lower()} }}]",
        f"admin: {{ address: '127.0.0.1:{PORT + 3}' }}",
        "upstreams: { nobody: { url: 'http://127.0.0.1:9' } }",
        "default_auth: public",
        "routes: { /top: { pipe: top } }",
        "log: { access: off, level: warn }",
        "server: { threads: 1 }",
        "hosts:",
        *(f"  h{number}.bench.test: {tls(number) if is_tls else '{}'}" for number in range(hosts)),
    ]
    (server.home / "gateway.yaml").write_text("\n".join(lines) + "\n")
    return [TARGET / "tollgate", "run", "-c", server.home / "gateway.yaml"], {}


def nginx(server, hosts, is_tls):
    now = server.folder / "now"
    tls = lambda number: f"ssl_certificate {now}/{number}.pem; ssl_certificate_key {now}/{number}.key;" if is_tls else ""
    lines = [
        "daemon off; worker_processes 1; pid nginx.pid; error_log stderr warn;",
        "events { worker_connections 1024; }",
        "http { access_log off; server_names_hash_max_size 65536;",
        "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        *(
            f"server {{ listen 127.0.0.1:{server.port}{' ssl' if is_tls else ''}; server_name h{number}.bench.test; {tls(number)} return 204; }}"
            for number in range(hosts)
        ),
        "}",
    ]
    (server.home / "nginx.conf").write_text("\n".join(lines) + "\n")
    return ["nginx", "-p", server.home, "-c", "nginx.conf", "-e", "stderr"], {}


def caddy(server, hosts, is_tls):
    now = server.folder / "now"
    sites = [
        {"match": [{"host": [f"h{number}.bench.test"]}], "handle": [{"handler": "static_response", "status_code": 204}]}
        for number in range(hosts)
    ]
    http = {"listen": [f"127.0.0.1:{server.port}"], "routes": sites, "automatic_https": {"disable": True}}
    apps = {"http": {"servers": {"bench": http}}}
    if is_tls:
        http["tls_connection_policies"] = [{}]
        files = [{"certificate": f"{now}/{number}.pem", "key": f"{now}/{number}.key"} for number in range(hosts)]
        apps["tls"] = {"certificates": {"load_files": files}}
    config = {"admin": {"disabled": True}, "logging": {"logs": {"default": {"level": "WARN"}}}, "apps": apps}
    (server.home / "caddy.json").write_text(json.dumps(config))
    home = str(server.home)
    environment = {"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home, "GOMAXPROCS": "1"}
    return ["caddy", "run", "--config", server.home / "caddy.json"], environment


# --- Memory ---


def memory_of(name, folder):
    """KiB by what is served, after a second of handshakes where there are any."""
    say(f"memory of {name}")
    port, found = PORT + list(SERVERS).index(name), {}
    for hosts, kind in [(1, "certificates"), (CERTIFICATES, "nothing"), (CERTIFICATES, "certificates")]:
        home = folder / f"{name}-{hosts}-{kind}"
        if home.exists():
            shutil.rmtree(home)
        server = Server(name, folder, hosts, kind, port)
        try:
            if kind == "certificates":
                server.load(1)
            found[hosts, kind] = server.resident()
            if name == "tollgate" and (hosts, kind) == (CERTIFICATES, "certificates"):
                found["replaced"] = replaced(server)
        finally:
            server.stop()
    return found


def replaced(server):
    """After every certificate was replaced by another one, which is taken by itself."""
    shutil.copytree(server.folder / "next", server.folder / "now", dirs_exist_ok=True)
    end = time.monotonic() + PATIENCE
    while not server.answers("next"):
        if time.monotonic() > end:
            sys.exit(f"the new certificates are not taken: {server.said.read_text()[-2000:]}")
    # What ran before is freed when the files are looked at next, which is every second.
    server.load(3, "next")
    return server.resident()


# --- Writing ---


def render(machine, rates, samples, memory):
    yield f"Measured on {machine['date']}: {machine['model']}, {CORES} cores, {machine['kernel']}; load average before the run "
    yield f"{machine['load before']}, after it {machine['load after']}. Tollgate at commit {machine['commit']}, NGINX {machine['nginx']}"
    yield f"(OpenSSL {machine['openssl']}), Caddy {machine['caddy']}. Command: `ROUNDS={ROUNDS} DURATION={DURATION} CONNECTIONS={CONNECTIONS} "
    yield f"CERTIFICATES={CERTIFICATES} benches/tls/run.py`. Each figure: median (lowest–highest) over the rounds."
    yield ""
    yield "|  | handshakes per CPU second | CPU µs per handshake | handshakes/s |"
    yield "|---|---:|---:|---:|"
    for name, title in SERVERS.items():
        micros = [1e6 / rate for rate in rates[name]]
        per_second = [sample["handshakes"] / sample["micros"] * 1e6 for sample in samples[name]]
        yield f"| {title} | {spread(rates[name])} | {spread(micros)} | {spread(per_second)} |"
    yield ""
    to_nginx = ratios(rates["tollgate"], rates["nginx"])
    met = "met" if statistics.median(to_nginx) >= GOAL else "**missed**"
    yield f"Handshakes per CPU second, Tollgate to NGINX: **{spread(to_nginx, '{:.2f}')}** (goal: at least {GOAL}, {met}); "
    yield f"Tollgate to Caddy: **{spread(ratios(rates['tollgate'], rates['caddy']), '{:.2f}')}**. Handshakes that failed: none (one would have ended the run)."
    yield ""
    yield f"|  | one host, MiB | {CERTIFICATES:,} hosts without TLS, MiB | with a certificate each, MiB | per certificate, KiB |"
    yield "|---|---:|---:|---:|---:|"
    per = {}
    for name, title in SERVERS.items():
        one, without, with_all = (memory[name][key] for key in [(1, "certificates"), (CERTIFICATES, "nothing"), (CERTIFICATES, "certificates")])
        per[name] = (with_all - without) / CERTIFICATES
        yield f"| {title} | {one / 1024:.1f} | {without / 1024:.1f} | {with_all / 1024:.1f} | {per[name]:.1f} |"
    met = "met" if per["tollgate"] <= MEMORY_GOAL else "**missed**"
    with_hosts = (memory["tollgate"][CERTIFICATES, "certificates"] - memory["tollgate"][1, "certificates"]) / CERTIFICATES
    later = memory["tollgate"]["replaced"]
    yield ""
    yield f"Memory per certificate of Tollgate: **{per['tollgate']:.1f} KiB** (goal: below {MEMORY_GOAL:.0f} KiB, {met}); with its host, compared with "
    yield f"a gateway of one host, {with_hosts:.1f} KiB. After all {CERTIFICATES:,} were replaced on disk and taken over: {later / 1024:.1f} MiB in all."
    yield ""


def ratios(above, below):
    """Within a round, so that what slows a whole round down cancels out."""
    return [one / other for one, other in zip(above, below, strict=True)]


def spread(values, form="{:,.0f}"):
    median, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return median if low == high else f"{median} ({low}–{high})"


def describe():
    said = lambda *command: subprocess.run(command, capture_output=True, text=True, check=False)
    nginx = said("nginx", "-V").stderr
    model = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "model": model[0] if model else platform.machine(),
        "kernel": f"{platform.system()} {platform.release()}",
        "commit": said("git", "rev-parse", "--short", "HEAD").stdout.strip() or "unknown",
        "nginx": nginx.partition("nginx/")[2].split()[0],
        # The last one is that which runs, where it is another than it was built with.
        "openssl": nginx.rpartition("OpenSSL ")[2].split()[0],
        "caddy": said("caddy", "version").stdout.split()[0],
        "load before": load_average(),
    }


def load_average():
    return ", ".join(Path("/proc/loadavg").read_text().split()[:3])


def write(section):
    text = OUTPUT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"{OUTPUT} has no line '{BEGIN}' with '{END}' after it: nothing was written\n{section}")
    OUTPUT.write_text(before + section + after)


def run(program, *arguments):
    """What one of our programs prints; its failure ends the run."""
    command = ["taskset", "-c", LOAD_CPUS, TARGET / program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{program} {arguments[0]} failed: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
