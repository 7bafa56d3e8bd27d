#!/usr/bin/env python3
"""Gives the files of `tollgate usage export --ddl` to Tinybird's own program, and asks their pipes in a ClickHouse.

Usage: datafiles.py TOLLGATE. Run by `make conformance` with the Python of .build/datafiles, which has `tinybird-cli` (its
parser and its templates) and `chdb` (ClickHouse as a library).
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

from chdb import session
from tinybird.sql_template import SQLTemplateException, render_sql_template

LINE = {
    "id": "a" * 32, "gateway": "g", "start": "2026-11-23 12:00:00", "seconds": 60, "tenant": "acme", "provider": "k",
    "caller": "c", "route": "/top", "class": 2, "requests": 3, "refusals": 1, "retries": 0, "request_bytes": 0,
    "response_bytes": 10, "rows_read": 30, "bytes_read": 300, "upstream_micros": 5000, "unmeasured": 0,
}
# The first one twice, as an export may send it.
LINES = [
    LINE,
    LINE,
    {**LINE, "id": "b" * 32, "route": "/x", "requests": 7, "class": 5},
    {**LINE, "id": "c" * 32, "tenant": "beta"},
]
HOSTILE = "acme' OR 1=1 --"


def files(tollgate: str, folder: pathlib.Path) -> dict[str, str]:
    told = subprocess.run([tollgate, "usage", "export", "--ddl", "--out", str(folder)], check=True, capture_output=True)
    paths = [pathlib.Path(path) for path in told.stdout.decode().split()]
    tb = pathlib.Path(sys.executable).with_name("tb")
    checked = subprocess.run([tb, "check", *paths], cwd=folder, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("processed correctly") == len(paths) == 4, checked.stdout
    return {path.name: path.read_text() for path in paths}


def database(text: str) -> session.Session:
    columns = re.findall(r"^ +(`\w+`) (\S+) `json:", text, re.M)
    key = re.search(r'ENGINE_SORTING_KEY "(.+)"', text)[1]
    part = re.search(r'ENGINE_PARTITION_KEY "(.+)"', text)[1]
    version = re.search(r'ENGINE_VER "(.+)"', text)[1]
    opened = session.Session()
    table = ", ".join(f"{name} {kind}" for name, kind in columns)
    opened.query("CREATE DATABASE d")
    opened.query(f"CREATE TABLE d.gateway_usage ({table}) ENGINE = ReplacingMergeTree({version}) "
                 f"PARTITION BY {part} ORDER BY ({key})")
    for line in LINES:
        opened.query("INSERT INTO d.gateway_usage FORMAT JSONEachRow " + json.dumps(line))
    return opened


def ask(opened: session.Session, pipe: str, **parameters: str) -> list[dict]:
    node = pipe.split("SQL >\n", 1)[1].split("TYPE endpoint")[0].strip().removeprefix("%")
    sql = render_sql_template(node, parameters)[0].replace("FROM gateway_usage", "FROM d.gateway_usage")
    return [json.loads(line) for line in str(opened.query(sql, "JSONEachRow")).splitlines() if line]


def main(tollgate: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = files(tollgate, pathlib.Path(folder))
    opened = database(written["gateway_usage.datasource"])
    days = written["gateway_usage_per_tenant.pipe"]
    assert [(row["tenant"], row["requests"]) for row in ask(opened, days)] == [("acme", 10), ("beta", 3)], "what came twice counts once"
    assert [row["requests"] for row in ask(opened, days, tenant="acme", since="2026-11-01 00:00:00")] == [10]
    assert ask(opened, days, tenant="acme", until="2026-11-01 00:00:00") == []
    routes = written["gateway_usage_top_routes.pipe"]
    assert [(row["route"], row["failures"]) for row in ask(opened, routes, limit="5")] == [("/x", 7), ("/top", 0)]
    assert len(ask(opened, routes, limit="1")) == 1
    invoice = written["gateway_usage_invoice.pipe"]
    lines = ask(opened, invoice, tenant="acme", month="2026-11-05")
    assert [(row["route"], row["requests"]) for row in lines] == [("/x", 6), ("/top", 2)], lines
    assert ask(opened, invoice, tenant="acme", month="2026-10-05") == []
    try:
        ask(opened, invoice, month="2026-11-05")
    except SQLTemplateException:
        pass
    else:
        sys.exit("an invoice of nobody is everybody's")
    for pipe in (days, routes, invoice):
        assert ask(opened, pipe, tenant=HOSTILE, month="2026-11-05") == [], "a tenant is text, and nothing else"
    print("the data source and its pipes: read by Tinybird's program, and asked in ClickHouse")


if __name__ == "__main__":
    main(*sys.argv[1:])
