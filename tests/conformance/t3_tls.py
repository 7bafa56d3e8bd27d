#!/usr/bin/env python3
"""t3: what testssl.sh finds in a gateway: no protocol below TLS 1.2, no old cipher, no vulnerability.

Usage: tests/conformance/t3_tls.py TOLLGATE [FILE]. Starts that program with a certificate of an authority made here, runs
Debian's testssl against it, and writes the result between two marks of FILE (docs/conformance.md). Ends with 1 if anything
is found that is not in EXCEPTIONS, or if a check that belongs here did not run: one that did not run proves nothing.
Needs openssl and testssl (`.ci/setup conformance`); asks nobody outside of this machine.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

BEGIN = "<!-- testssl: begin (written by tests/conformance/t3_tls.py) -->"
END = "<!-- testssl: end -->"
NAME = "data.acme.test"
PATIENCE = 30
# Of keys: ciphers of TLS 1.2 differ by it.
KINDS = ["ecdsa", "rsa"]

# What testssl says of each protocol, literally.
PROTOCOLS = {
    "SSLv2": "not offered",
    "SSLv3": "not offered",
    "TLS1": "not offered",
    "TLS1_1": "not offered",
    "TLS1_2": "offered",
    "TLS1_3": "offered with final",
}
CIPHERS = ["cipherlist_NULL", "cipherlist_aNULL", "cipherlist_EXPORT", "cipherlist_LOW", "cipherlist_3DES_IDEA",
           "cipherlist_AVERAGE", "cipherlist_STRONG", "PFS"]
VULNERABILITIES = {
    "heartbleed": "Heartbleed",
    "CCS": "CCS injection",
    "ticketbleed": "Ticketbleed",
    "ROBOT": "ROBOT",
    "secure_renego": "secure renegotiation (RFC 5746)",
    "secure_client_renego": "renegotiation by the client",
    "CRIME_TLS": "CRIME",
    "BREACH": "BREACH",
    "POODLE_SSL": "POODLE",
    "fallback_SCSV": "downgrade (TLS_FALLBACK_SCSV)",
    "SWEET32": "SWEET32",
    "FREAK": "FREAK",
    "DROWN": "DROWN",
    "LOGJAM": "LOGJAM",
    "BEAST": "BEAST",
    "LUCKY13": "LUCKY13",
    "RC4": "RC4",
}
# What testssl minds and we do not, and why.
EXCEPTIONS = {
    "cipher_order": "the caller chooses among ciphers that are all good: it knows which one its processor is made for",
    "cert_revocation": "of the certificate made for this run: its authority revokes nothing",
    "engine_problem": "of this machine's openssl: it knows no GOST",
}
FINE = ("OK", "INFO")


def main(program, target):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        make_certificates(folder)
        findings = tested(program, folder)
    problems = list(judged(findings))
    section = "\n".join([BEGIN, "", *render(findings, problems, program), END])
    if target is not None:
        write(Path(target), section)
    print(section if problems else f"testssl: {len(findings)} findings, none against the gateway")
    for problem in problems:
        print(f"t3: {problem}", file=sys.stderr)
    return 1 if problems else 0


# --- The gateway ---


def make_certificates(folder):
    """An authority, and the host's certificates by it."""
    (folder / "host.ext").write_text(
        f"subjectAltName=DNS:{NAME}\nextendedKeyUsage=serverAuth\nkeyUsage=critical,digitalSignature\n"
        "basicConstraints=critical,CA:FALSE\n"
    )
    key = {"ecdsa": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]}
    commands = [
        ["openssl", "genpkey", *key["ecdsa"], "-out", "ca.key"],
        ["openssl", "req", "-x509", "-new", "-key", "ca.key", "-sha256", "-days", "90", "-subj", "/CN=Conformance", "-out", "ca.pem"],
    ]
    for kind in KINDS:
        commands += [
            ["openssl", "genpkey", *key[kind], "-out", f"{kind}.key"],
            ["openssl", "req", "-new", "-key", f"{kind}.key", "-subj", f"/CN={NAME}", "-out", "host.csr"],
            ["openssl", "x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "89",
             "-sha256", "-extfile", "host.ext", "-out", f"{kind}.pem"],
        ]
    for command in commands:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)


def tested(program, folder):
    port, admin = free_ports(2)
    pairs = ", ".join(f"{{ cert: {kind}.pem, key: {kind}.key }}" for kind in KINDS)
    # Some checks of testssl name no host: without a default they would fail in the handshake, and find nothing.
    (folder / "gateway.yaml").write_text(f"""\
listeners: [{{ address: "127.0.0.1:{port}", tls: true }}]
admin: {{ address: "127.0.0.1:{admin}" }}
upstreams: {{ nobody: {{ url: "http://127.0.0.1:9" }} }}
hosts: {{ {NAME}: {{ tls: [{pairs}], hsts: 365d }} }}
tls: {{ default: [{pairs}] }}
default_auth: public
routes: {{ /top: {{ pipe: top }} }}
state: {{ dir: ./state }}
""")
    with open(folder / "said", "wb") as said:
        gateway = subprocess.Popen([program, "run", "-c", folder / "gateway.yaml"], stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        wait_for(f"http://127.0.0.1:{admin}/readyz", gateway, folder / "said")
        return testssl(port, folder)
    finally:
        gateway.send_signal(signal.SIGINT)
        gateway.wait()


def testssl(port, folder):
    out = folder / "findings.json"
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--nodns", "none", "--add-ca",
               folder / "ca.pem", "--connect-timeout", "10", "--openssl-timeout", "10", "--jsonfile", out, f"{NAME}:{port}"]
    # A proxy would be asked for 127.0.0.1.
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False)
    if not out.exists():
        sys.exit(f"testssl wrote nothing: {run.stdout[-2000:]}{run.stderr[-2000:]}")
    return json.loads(out.read_text())


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(url, gateway, said):
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and gateway.poll() is None:
        try:
            ask.open(url, timeout=1).close()
            return
        except OSError as error:
            # An answer that says that the upstream is away is an answer.
            if getattr(error, "code", None):
                return
            time.sleep(0.05)
    sys.exit(f"the gateway does not come up: {said.read_text()}")


# --- What was found ---


def judged(findings):
    by_id = by_name(findings)
    for name, expected in PROTOCOLS.items():
        found = by_id.get(name, {}).get("finding", "was not tested")
        if found != expected:
            yield f"{name} is wanted as '{expected}' and was found as '{found}'"
    for name in [*CIPHERS, *VULNERABILITIES]:
        if name not in by_id:
            yield f"{name} was not tested"
    for finding in findings:
        if finding["severity"] not in FINE and name_of(finding) not in EXCEPTIONS:
            yield f"{finding['id']} ({finding['severity']}): {finding['finding']}"


def name_of(finding):
    """What testssl calls it, without the number of the certificate."""
    return finding["id"].split()[0]


def by_name(findings):
    return {name_of(finding): finding for finding in findings}


def render(findings, problems, program):
    by_id = by_name(findings)
    says = lambda name: by_id.get(name, {}).get("finding", "not tested").strip()
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    tool = subprocess.run(["testssl", "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout
    tool = re.search(r"testssl\D*([\d.]+\d)", tool)
    ours = by_name(finding for finding in findings if name_of(finding) in EXCEPTIONS and finding["severity"] not in FINE)
    outcome = f"{len(problems)} problems" if problems else "nothing found"
    yield f"{time.strftime('%Y-%m-%d', time.gmtime())}, {version}, testssl {tool[1] if tool else 'of a version it does not tell'}: **{outcome}**."
    yield ""
    yield "| Protocol | |"
    yield "| --- | --- |"
    for name in PROTOCOLS:
        yield f"| {name} | {says(name)} |"
    yield f"| ALPN | {says('ALPN')}, {says('ALPN_HTTP2')} |"
    yield ""
    yield "| Cipher | |"
    yield "| --- | --- |"
    for finding in findings:
        if re.fullmatch(r"cipher_x[0-9a-f]+", finding["id"]):
            words = finding["finding"].split()
            # Those of TLS 1.3 do not say with what key they go.
            yield f"| `{words[-1]}` | {'TLS 1.2' if '_WITH_' in words[-1] else 'TLS 1.3'} |"
    yield ""
    yield "| Attack, defence | testssl says |"
    yield "| --- | --- |"
    for name, words in VULNERABILITIES.items():
        yield f"| {words} | {says(name)} |"
    yield ""
    yield "What testssl minds, and why it stays:"
    yield ""
    for name, finding in ours.items():
        yield f"- `{name}`, \"{finding['finding']}\": {EXCEPTIONS[name]}."
    yield ""
    if problems:
        yield from (f"- **{problem}**" for problem in problems)
        yield ""


def write(target, section):
    text = target.read_text()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"{target} has no line '{BEGIN}' with '{END}' after it: nothing was written")
    target.write_text(before + section + after)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else None))
