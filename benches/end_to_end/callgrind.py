"""Counts the instructions that requests to a gateway take, in user space, by callgrind.

The gateway is started with the `wrapper`, and counts only while `count` lets it: neither its start is in a figure nor what its first
requests make for good. Its main thread is left out, which goes on with the start while the others serve already.
"""

import re
import socket
import subprocess
import time

# Requests before those that are counted, and those.
WARM_UP, COUNTED = 300, 1_500
# Seconds for all requests of a scenario. Valgrind makes everything fifty times slower.
PATIENCE = 180


def wrapper(output):
    """What a gateway is started with. What was counted is in `output` when it has ended."""
    # Without threads that take turns at random there would be no figure to compare.
    return ["valgrind", "--tool=callgrind", "--fair-sched=no", "--instr-atstart=no", "--separate-threads=yes", f"--callgrind-out-file={output}"]


def count(pid, caller):
    """Counts while this caller asks."""
    caller.ask(WARM_UP)
    switch(pid, "on")
    caller.ask(COUNTED)
    switch(pid, "off")


def switch(pid, state):
    done = subprocess.run(["callgrind_control", "-i", state, str(pid)], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise SystemExit(f"callgrind_control cannot reach the gateway: {done.stdout}{done.stderr}")


def serving(output):
    """Instructions of one request on the thread that serves it. What others do by the clock, and not by requests, is not in it."""
    return max(threads(output)) / COUNTED


def everywhere(output):
    """Instructions of one request with what other threads do at the same time."""
    return sum(threads(output)) / COUNTED


def threads(output):
    """What each thread but the first has counted."""
    files = [file for file in output.parent.glob(f"{output.name}-*") if file.name != f"{output.name}-01"]
    return [int(re.search(r"^totals: (\d+)", file.read_text(errors="replace"), re.MULTILINE)[1]) for file in files]


class Caller:
    """Asks for the same again and again, on one connection that is kept."""

    def __init__(self, port, target, host="localhost", token=None):
        fields = [f"GET {target} HTTP/1.1", f"Host: {host}", *([f"Authorization: Bearer {token}"] if token else [])]
        self.request = ("\r\n".join(fields) + "\r\n\r\n").encode()
        self.connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ends = time.monotonic() + PATIENCE

    def ask(self, count):
        for _ in range(count):
            self.connection.sendall(self.request)
            answer = self.received(b"", lambda answer: b"\r\n\r\n" in answer)
            head, _, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
            if not head.startswith(b"HTTP/1.1 200 ") or length is None:
                raise SystemExit(f"not the answer that is counted: {head.decode(errors='replace')}")
            self.received(body, lambda body: len(body) >= int(length[1]))

    def received(self, already, complete):
        """An answer comes in as many pieces as it likes."""
        while not complete(already):
            left = self.ends - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer within {PATIENCE} s")
            self.connection.settimeout(left)
            piece = self.connection.recv(65536)
            if not piece:
                raise ConnectionError(f"the connection ended within an answer: {already.decode(errors='replace')}")
            already += piece
        return already
