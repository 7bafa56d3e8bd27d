"""Compares counts of instructions with those of an earlier commit, and says whether too many became more.

Usage: judge.py check|record BASELINE COUNTS..    COUNTS are files: JSON by scenario, or what gungraun prints (.jsonl)

BASELINE is JSON: the compiler and target that counted, instructions by scenario, and why some of them ever became more. `check` ends
with 1 if one has grown by more than 3 %, if one is not in the baseline, or one of the baseline was not counted. `record` writes what is
less and what is new. What has become more it writes only with a reason, which is the environment's WHY, and keeps the reason.
RUSTC names another compiler to ask, MACHINE says what else counts depend on: versions of valgrind and the C library, and what the processor can.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

# In per cent. Two counts of the same program differ by less than one.
LIMIT = 3.0
# What must not depend on how much there is: these two may differ by so many per cent.
FLAT = [("request/10 routes on 1 host", "request/10 000 routes on 1 000 hosts", 5.0)]
AGAIN = "make instructions RECORD=1"


def main(task, baseline, *files):
    baseline = Path(baseline)
    now = {}
    for file in files:
        for name, count in counts(Path(file)).items():
            # What is counted more than once stands with its smallest count: tables of hashes have better and worse days.
            now[name] = min(count, now.get(name, count))
    before = json.loads(baseline.read_text()) if baseline.exists() else {}
    if not now:
        sys.exit("nothing was counted")
    if empty := [name for name, count in now.items() if count <= 0]:
        sys.exit(f"nothing was counted in {', '.join(empty)}: does what is counted still have its name?")
    tasks = {"check": check, "record": record}
    if task not in tasks:
        sys.exit(__doc__)
    tasks[task](baseline, before, now, counted_with())


def counts(file):
    text = file.read_text()
    return json.loads(text) if file.suffix != ".jsonl" else dict(map(of_gungraun, filter(None, text.splitlines())))


def of_gungraun(line):
    """Name and count in a line of gungraun's JSON."""
    summary = json.loads(line)
    count = summary["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"]
    return f"{summary['function_name']}/{summary['id']}", count


def counted_with():
    """What other counts come of, for the same source."""
    command = [os.environ.get("RUSTC", "rustc"), "-vV"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    said = dict(line.split(": ", 1) for line in lines if ": " in line)
    return {"rustc": said["release"], "target": said["host"], "machine": os.environ.get("MACHINE", "")}


def check(baseline, before, now, here):
    known = before.get("instructions", {})
    comparable = is_comparable(before, here)
    print(table(known, now))
    wrong = [f"{name} is not in {baseline}" for name in now if name not in known]
    wrong += [f"{name} is in {baseline}, and was not counted" for name in known if name not in now]
    wrong += [f"{name} does not stay what it is: {message}" for name, message in slopes(now)]
    grown = {name: change(known[name], now[name]) for name in now if name in known and change(known[name], now[name]) > LIMIT}
    if comparable:
        wrong += [f"{name} has grown by {percent:.1f} %, and {LIMIT:g} % are allowed" for name, percent in grown.items()]
        less = [name for name in now if name in known and change(known[name], now[name]) < -LIMIT]
        if less:
            print(f"Less than before: {', '.join(less)}. So that it stays so: {AGAIN}")
    else:
        of = ", ".join(str(before.get(key)) for key in here)
        print(f"\n*** NOT JUDGED: the baseline is of {of}; this is {', '.join(here.values())}. Their counts cannot be compared. ***")
    if wrong:
        print("\n" + "\n".join(f"WRONG: {message}" for message in wrong))
        print(f"Find what costs it: docs/benchmarks.md says how. If it is worth it: {AGAIN} WHY='what it is spent on'. New and gone ones need no WHY.")
        sys.exit(1)


def record(baseline, before, now, here):
    known, why = before.get("instructions", {}), os.environ.get("WHY", "").strip()
    comparable = not known or is_comparable(before, here)
    print(table(known, now))
    grown = [name for name in now if name in known and change(known[name], now[name]) > LIMIT]
    if not why and not comparable:
        sys.exit(f"Not recorded: another compiler or machine hides what has grown. Say so: {AGAIN} WHY='what was changed'")
    if not why and grown:
        sys.exit(f"Not recorded: {', '.join(grown)} would be more. Say why: {AGAIN} WHY='what it is spent on'")
    reasons = before.get("why", [])
    if why:
        what = {name: round(change(known[name], now[name]), 1) for name in grown} if comparable else "everything"
        reasons = [*reasons, {"date": time.strftime("%Y-%m-%d", time.gmtime()), "grown": what, "why": why}]
    else:
        # Else a little more each time would be a lot, and nobody would have said why.
        now = {name: min(count, known.get(name, count)) for name, count in now.items()}
    ordered = dict(sorted(now.items()))
    baseline.write_text(json.dumps({**here, "why": reasons, "instructions": ordered}, indent=2, ensure_ascii=False) + "\n")
    print(f"Written: {baseline}. It belongs into the commit that changes the counts.")


def is_comparable(before, here):
    return all(before.get(key) == value for key, value in here.items())


def slopes(now):
    for few, many, limit in FLAT:
        if few in now and many in now and abs(change(now[few], now[many])) > limit:
            yield many, f"{change(now[few], now[many]):+.1f} % to {few}, and {limit:g} % are allowed"


def change(before, now):
    return 100 * (now / before - 1)


def table(before, now):
    names = sorted({*before, *now})
    rows = [("scenario", "before", "now", "change")]
    for name in names:
        both = name in before and name in now
        percent = f"{change(before[name], now[name]):+.2f} %" if both else "new" if name in now else "gone"
        rows.append((name, number(before.get(name)), number(now.get(name)), percent))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(row[0].ljust(widths[0]) + "".join("  " + row[at].rjust(widths[at]) for at in (1, 2, 3)) for row in rows)


def number(count):
    return "–" if count is None else f"{count:,}".replace(",", " ")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
