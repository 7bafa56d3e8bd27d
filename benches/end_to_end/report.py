"""Turns what run.sh noted into the measured section of docs/benchmarks.md.

Usage: report.py FOLDER FILE. FOLDER has samples.jsonl and machine.json; of FILE only what stands
between the two marks is replaced. Every figure is the median over the rounds, with the range in
parentheses; ratios are taken within a round, so that what slows a whole round down cancels out.
"""

import json
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path

BEGIN = "<!-- measured: begin (written by benches/end_to_end/report.py) -->"
END = "<!-- measured: end -->"
TITLES = {"direct": "no proxy", "tollgate": "**Tollgate**", "pingora": "bare Pingora", "timed": "bare Pingora with time-outs", "nginx": "NGINX"}
PROXIES = ["tollgate", "pingora", "timed", "nginx"]
GOAL = 1.10
# Whom a route lets in, as run.sh calls it, and what it costs more than the route that everybody may call.
CALLERS = {
    "public": "everybody",
    "ignored": "everybody, a token comes along",
    "one": "one token, again and again",
    "many": "1 000 tokens in turn",
    "limited": "everybody, a limit by address",
    "one_limited": "one token, a limit by tenant",
}
# What a limited route is compared with, and what it may cost more.
UNLIMITED = {"limited": "public", "one_limited": "one"}
LIMIT_GOAL = 1.0
# Who counts where, as run.sh calls it; the first asks no limit.
COUNTERS = {"tollgate/public": "no limit", "tollgate/limited": "counted in memory", "redis/limited": "counted in Redis"}
REDIS_GOAL = 2.0
OWN_GOAL = 3.0
# CPU seconds below which a turn says nothing: times are counted in hundredths of one.
STARVED = 0.3


def main(folder, target):
    machine = json.loads((folder / "machine.json").read_text())
    samples = defaultdict(list)
    for line in (folder / "samples.jsonl").read_text().splitlines():
        sample = json.loads(line)
        samples[sample["kind"], sample["name"]].append(sample)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"# Benchmarks\n\n{BEGIN}\n{END}\n")
    write_section(target, BEGIN, END, render(machine, samples))


def write_section(target, begin, end, lines):
    """Prints lines, and writes them between two marks of a file."""
    section = "\n".join([begin, "", *lines, end])
    print(section)
    before, _, rest = target.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        sys.exit(f"{target} has no line '{begin}' with '{end}' after it: nothing was written")
    target.write_text(before + section + after)


def render(machine, samples):
    cpu = {name: cpu_micros(samples["saturated", name], machine) for name in PROXIES}
    yield from conditions(machine)
    yield "### Cost and throughput, the proxy on one core and busy"
    yield ""
    yield from table(
        ["", "CPU µs per request", "requests/s", "p50 ms", "p99 ms"],
        [
            [
                TITLES[name],
                spread(cpu[name]) if name in cpu else "–",
                spread([rate(sample) for sample in samples["saturated", name]], "{:,.0f}"),
                spread([sample["p50"] / 1e3 for sample in samples["saturated", name]], "{:.2f}"),
                spread([sample["p99"] / 1e3 for sample in samples["saturated", name]], "{:.2f}"),
            ]
            for name in ["direct", *PROXIES]
        ],
    )
    to_bare = ratios(cpu["tollgate"], cpu["pingora"])
    to_nginx = ratios(cpu["tollgate"], cpu["nginx"])
    met = "met" if statistics.median(to_bare) <= GOAL else "**missed**"
    yield f"CPU per request, Tollgate to bare Pingora: **{spread(to_bare, '{:.2f}')}** (goal: at most {GOAL:.2f}, {met}); "
    yield f"to bare Pingora with the same time-outs: **{spread(ratios(cpu['tollgate'], cpu['timed']), '{:.2f}')}**; "
    yield f"Tollgate to NGINX: **{spread(to_nginx, '{:.2f}')}**; "
    yield f"bare Pingora to NGINX: {spread(ratios(cpu['pingora'], cpu['nginx']), '{:.2f}')}."
    yield ""
    yield "### Latency with one request at a time"
    yield ""
    yield from table(
        ["", "p50 µs", "p99 µs", "p50 added to no proxy, µs"],
        [
            [
                TITLES[name],
                spread([sample["p50"] for sample in samples["single", name]], "{:.0f}"),
                spread([sample["p99"] for sample in samples["single", name]], "{:.0f}"),
                "–" if name == "direct" else spread(added(samples, name), "{:.0f}"),
            ]
            for name in ["direct", *PROXIES]
        ],
    )
    yield "### Memory, start, size"
    yield ""
    yield from table(
        ["", "resident idle, MiB", "resident after the load, MiB", "start to first answer, ms", "program, MiB"],
        [
            [
                TITLES[name],
                spread([sample["kib"] / 1024 for sample in when(samples, name, "idle")]),
                spread([sample["kib"] / 1024 for sample in when(samples, name, "loaded")]),
                spread([sample["micros"] / 1e3 for sample in samples["start", name]], "{:.0f}"),
                f"{int(machine['size_' + name]) / 2**20:.1f}",
            ]
            for name in PROXIES
        ],
    )
    yield from verdict(cpu, samples)
    yield from callers(machine, samples)
    yield from counters(samples)


def callers(machine, samples):
    """What it costs to know who calls."""
    groups = {name: group for (kind, name), group in samples.items() if kind == "callers"}
    turns = list(zip(*groups.values(), strict=True))
    # Whole turns, whoever was starved in them: leaving single figures out would choose between results.
    enough = STARVED * int(machine["ticks_per_second"])
    kept = [turn for turn in turns if all(sample["ticks"] >= enough for sample in turn)]
    yield "### Callers with a token"
    yield ""
    if not kept:
        yield f"Nothing can be said: in each of {len(turns)} turns somebody got less than {STARVED} s of CPU time in a second."
        yield ""
        return
    groups = dict(zip(groups, zip(*kept, strict=True), strict=True))
    cpu = {name: cpu_micros(group, machine) for name, group in groups.items()}
    rows = []
    for proxy, title in [("tollgate", "**Tollgate**"), ("haproxy", "HAProxy"), ("nginx", "NGINX")]:
        for who, words in CALLERS.items():
            name = f"{proxy}/{who}"
            if name in cpu:
                more = "–" if who == "public" else sure(more_than_public(cpu, proxy, who))
                rates = [rate(sample) for sample in groups[name]]
                rows.append([f"{title}: {words}", spread(cpu[name]), more, spread(rates, "{:,.0f}")])
    yield from table(["", "CPU µs per request", "more than the public route, µs", "requests/s"], rows)
    yield f"{len(kept)} turns, in each of which everyone had one second; {len(turns) - len(kept)} more are left out because somebody got less than "
    yield f"{STARVED} s of CPU time in them. Differences are taken within a turn: the median, and in parentheses where it lies with "
    yield "95 % confidence."
    yield ""
    for who in ("one", "many"):
        added = more_than_public(cpu, "tollgate", who)
        yield f"Tollgate, {CALLERS[who]}, more than its public route: **{sure(added)} µs** (goal: at most {OWN_GOAL:.0f} µs, {judged(added, OWN_GOAL)}). "
    for who, without in UNLIMITED.items():
        added = more_than(cpu, "tollgate", who, without)
        yield f"Tollgate, {CALLERS[who]}, more than without the limit: **{sure(added)} µs** (goal: at most {LIMIT_GOAL:.0f} µs, {judged(added, LIMIT_GOAL)}). "
    to_haproxy = spread(ratios(cpu["tollgate/one"], cpu["haproxy/one"]), "{:.2f}")
    yield f"A whole request with a token, Tollgate to HAProxy: **{to_haproxy}**."
    yield ""


def counters(samples):
    """What a request waits for its limit, one request at a time."""
    yield "### Where a limit is counted"
    yield ""
    groups = {name: samples["counters", name] for name in COUNTERS}
    rows = []
    for name, words in COUNTERS.items():
        group = groups[name]
        rows.append([words, sure_of([sample["p50"] for sample in group]), sure_of([sample["p99"] for sample in group])])
    yield from table(["", "p50 µs", "p99 µs"], rows)
    added = [(redis["p99"] - memory["p99"]) / 1e3 for redis, memory in zip(groups["redis/limited"], groups["tollgate/limited"], strict=True)]
    yield f"{len(added)} turns of one second, one request at a time, the median of the turns and where it lies with 95 % confidence. "
    yield f"Redis adds to the p99, compared with memory in the same turn: **{sure(added, '{:+.2f}')} ms** "
    yield f"(goal: at most {REDIS_GOAL:.0f} ms, {judged(added, REDIS_GOAL)})."
    yield ""


def more_than(cpu, proxy, who, without):
    return [one - other for one, other in zip(cpu[f"{proxy}/{who}"], cpu[f"{proxy}/{without}"], strict=True)]


def more_than_public(cpu, proxy, who):
    return more_than(cpu, proxy, who, "public")


def conditions(machine):
    pinned = "the proxies had one core to themselves, wrk and the upstream the rest" if machine["pinned"] else "not pinned"
    yield f"Measured on {machine['date']}: {machine['model']}, {machine['cores']} cores, {machine['memory']} GiB, "
    yield f"{machine['kernel']}; load average before the run {machine['load']}; {pinned}."
    yield f"{machine['tollgate']} at commit {machine['commit']} (`rustc` {machine['rustc'].split()[1]}, fat LTO, one "
    yield f"codegen unit, mimalloc), Pingora {machine['pingora']}, NGINX {machine['nginx']}, HAProxy {machine['haproxy']}, wrk {machine['wrk']}."
    yield ""
    yield f"Command: `ROUNDS={machine['rounds']} DURATION={machine['duration']} CONNECTIONS={machine['connections']} "
    yield "benches/end_to_end/run.sh`. Each figure: median (lowest–highest) over the rounds."
    yield ""


def verdict(cpu, samples):
    """Who is ahead of Tollgate, said plainly."""
    medians = {name: statistics.median(values) for name, values in cpu.items()}
    ahead = [TITLES[name] for name in PROXIES[1:] if medians[name] < medians["tollgate"]]
    if ahead:
        yield f"Cheaper per request than Tollgate: {' and '.join(ahead)}."
    resident = {name: when(samples, name, "loaded")[-1]["kib"] for name in PROXIES}
    smaller = [TITLES[name] for name in PROXIES[1:] if resident[name] < resident["tollgate"]]
    if smaller:
        yield f"Smaller in memory after the load: {' and '.join(smaller)}."
    errors = sum(sample["errors"] for (kind, _), group in samples.items() if kind in ("saturated", "single") for sample in group)
    yield f"Wrong answers: none (one would have ended the run). Connection errors that wrk counted: {errors}."
    yield ""


def cpu_micros(group, machine):
    tick = 1e6 / int(machine["ticks_per_second"])
    return [sample["ticks"] * tick / sample["requests"] for sample in group]


def rate(sample):
    return sample["requests"] / (sample["micros"] / 1e6)


def ratios(above, below):
    return [one / other for one, other in zip(above, below, strict=True)]


def added(samples, name):
    pairs = zip(samples["single", name], samples["single", "direct"], strict=True)
    return [one["p50"] - direct["p50"] for one, direct in pairs]


def confidence(values):
    """Between which two of the values their median lies with 95 % confidence (order statistics); the ends where they are too few."""
    ordered, count = sorted(values), len(values)
    below = [sum(math.comb(count, one) for one in range(cut + 1)) / 2**count for cut in range(count // 2)]
    cut = sum(chance <= 0.025 for chance in below)
    cut = max(cut - 1, 0)
    return ordered[cut], ordered[count - 1 - cut]


def sure(values, form="{:+.1f}"):
    low, high = confidence(values)
    return f"{form.format(statistics.median(values))} ({form.format(low)} to {form.format(high)})"


def sure_of(values):
    return sure(values, "{:,.0f}")


def judged(values, goal):
    """A goal is met or missed only where the noise of the run does not decide."""
    low, high = confidence(values)
    return "met" if high <= goal else "**missed**" if low > goal else "**not decided**: this run was too noisy"


def when(samples, name, moment):
    return [sample for sample in samples["memory", name] if sample["when"] == moment]


def spread(values, form="{:.1f}"):
    median, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return median if low == high else f"{median} ({low}–{high})"


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "---:|" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
