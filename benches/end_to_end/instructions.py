"""Counts the instructions of whole requests on the thread that serves them, with what Pingora and the system's libraries do for them.

Usage: instructions.py PROGRAM FILE    PROGRAM is a gateway; FILE will be JSON: instructions by scenario

Each scenario has gateways (ROUNDS, 3, one after the other) of one thread under callgrind, in front of an upstream in this process that
answers at once; the smallest count stands. Ports are free ones of 127.0.0.1. Needs valgrind.
"""

import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import callgrind
import tokens
from processes import process

HERE = Path(__file__).parent
ROUNDS = int(os.environ.get("ROUNDS", 3))
SECRET = "p.the-admin-token-of-a-workspace-signs-the-tokens-of-its-callers"
WORKSPACE = "9c2a0c2e-0000-4000-8000-000000000001"
UNCOUNTED = "usage: { ledger: false, measure: false }"
DASHBOARDS = f"""auth: {{ dashboards: {{ type: tinybird_jwt, secret: {SECRET}, workspace_id: {WORKSPACE}, tenant: '{{fixed_params.company_id}}' }} }}
limits: {{ each: {{ by: tenant, rate: 1000000/s }} }}
routes:
  /sales: {{ pipe: sales, auth: dashboards, limits: [each], params: {{ fixed: {{ company_id: '{{tenant}}' }} }} }}
"""


def many(routes, hosts):
    """The same route among others, for the same host among others."""
    paths = "".join(f"  /r{route}: {{ pipe: top-10-products }}\n" for route in range(routes))
    names = "".join(f"  h{host}.shops.test: {{}}\n" for host in range(hosts))
    return f"{UNCOUNTED}\nroutes:\n{paths}hosts:\n{names}"


# Sections of the configuration, what is asked for, and of which host.
SCENARIOS = {
    "open route": (f"{UNCOUNTED}\nroutes:\n  /top-10-products: {{ pipe: top-10-products }}\n", "/top-10-products?limit=5", "localhost"),
    "token, tenant's parameter and limit": (DASHBOARDS, "/sales?limit=5", "localhost"),
    "10 routes on 1 host": (many(10, 1), "/r7?limit=5", "h0.shops.test"),
    "10 000 routes on 1 000 hosts": (many(10_000, 1_000), "/r7?limit=5", "h0.shops.test"),
}


def main(program, target):
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        tokens.main(SECRET, WORKSPACE, 1, folder)
        token = (folder / "one.tokens").read_text().strip()
        upstream = Upstream()
        for name, (sections, path, host) in SCENARIOS.items():
            counts = [counted(folder / f"{len(found)}-{turn}", program, upstream.port, sections, path, host, token) for turn in range(ROUNDS)]
            print(f"{name}: {', '.join(f'{count:,.0f}' for count in counts)}", file=sys.stderr)
            found[f"request/{name}"] = round(min(counts))
    Path(target).write_text(json.dumps(found, indent=2) + "\n")


def counted(folder, *scenario):
    """Of one gateway. A connection that breaks says nothing about instructions: once, another gateway may try."""
    for attempt in range(2):
        place = folder.with_name(f"{folder.name}-{attempt}")
        place.mkdir()
        try:
            return counted_in(place, *scenario)
        except OSError as error:
            print(f"*** broken off: {error}; the gateway's last words: {(place / 'log').read_text()[-500:]}", file=sys.stderr)
    sys.exit("two gateways broke off")


def counted_in(folder, program, upstream, sections, path, host, token):
    port, admin = free_port(), free_port()
    (folder / "tollgate.yaml").write_text(
        f"""listeners: [{{ address: '127.0.0.1:{port}' }}]
admin: {{ address: '127.0.0.1:{admin}' }}
upstreams: {{ tinybird: {{ url: 'http://127.0.0.1:{upstream}', token: p.benchmark }} }}
log: {{ access: 'off', level: warn }}
server: {{ threads: 1 }}
{sections}"""
    )
    output = folder / "callgrind.out"
    command = [*callgrind.wrapper(output), str(Path(program).resolve()), "run", "-c", "tollgate.yaml"]
    with (folder / "log").open("w") as log, process(command, cwd=folder, stderr=log) as gateway:
        wait_for(f"http://127.0.0.1:{admin}/readyz", gateway, folder / "log")
        callgrind.count(gateway.pid, callgrind.Caller(port, path, host, token if "auth:" in sections else None))
    return callgrind.serving(output)


def wait_for(url, gateway, log):
    ends = time.monotonic() + callgrind.PATIENCE
    while time.monotonic() < ends and gateway.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10):
            return
        time.sleep(0.1)
    sys.exit(f"the gateway does not answer: {log.read_text()[-2000:]}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Upstream:
    """Answers every request with the same, without looking at it."""

    def __init__(self):
        body = (HERE / "answer.json").read_text().replace("\n", "")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
        self.answer = (head + body).encode()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        with contextlib.suppress(OSError), connection:
            while piece := connection.recv(65536):
                received += piece
                while b"\r\n\r\n" in received:
                    received = received.partition(b"\r\n\r\n")[2]
                    connection.sendall(self.answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
