"""Makes the callers' tokens that run.sh needs, as Tinybird's documentation has them made, about 600 bytes each.

Usage: tokens.py SECRET WORKSPACE COUNT FOLDER. One token a line: one.tokens, many.tokens (COUNT of them), public.tokens
(none), and two that are no good: forged.tokens, expired.tokens.
"""

import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path

IN_2096 = 4_000_000_000


def main(secret, workspace, count, folder):
    def token(turn, key=secret, expires=IN_2096):
        fixed = {"company_id": f"tenant-{turn:04}"}
        claims = {
            "workspace_id": workspace,
            "name": f"dashboard of tenant {turn:04}",
            "exp": expires,
            "scopes": [
                {"type": "PIPES:READ", "resource": pipe, "fixed_params": fixed}
                for pipe in ("sales", "t_abcdef1234567890", "t_1234567890abcdef")
            ],
        }
        message = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(claims)}"
        return f"{message}.{base64url(hmac.digest(key.encode(), message.encode(), hashlib.sha256))}"

    files = {
        "public": [],
        "one": [token(0)],
        "many": [token(turn) for turn in range(int(count))],
        "forged": [token(0, key=secret[::-1])],
        "expired": [token(0, expires=1_000_000_000)],
    }
    for name, tokens in files.items():
        Path(folder, f"{name}.tokens").write_text("".join(f"{token}\n" for token in tokens))


def encoded(value):
    return base64url(json.dumps(value, separators=(",", ":")).encode())


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


if __name__ == "__main__":
    main(*sys.argv[1:])
