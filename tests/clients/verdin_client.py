"""The Python client verdin against a running gateway in front of the demo upstream.

Usage: python verdin_client.py BASE_URL TOKEN. Out: one line per check, `ok NAME` or `FAIL NAME: why`; exit code 1 if one failed.
TOKEN is the caller's own and must be one the upstream does not know: that anything is answered shows that the gateway replaced it.
Not here: starting the gateway (tests/clients/main.rs).
"""

import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from verdin.api import ApiError
from verdin.client import Client
from verdin.pipe import PipeError
from verdin.query import QueryError

# verdin sends a GET up to this many characters of parameters, and a form above.
LONGEST_GET = 8192


def query_with_parameters():
    january = query("top-10-products", {"date_start": "2026-01-01", "date_end": "2026-01-31", "limit": "5"})
    same(len(january.data), 5)
    same([name for name, _ in january.meta], ["product_id", "name", "category", "units", "revenue"])
    revenues = [row["revenue"] for row in january.data]
    same(revenues, sorted(revenues, reverse=True))
    quarter = query("top-10-products", {"limit": "5"})
    true(quarter.data[0]["revenue"] > january.data[0]["revenue"], "the dates reached the pipe")

    everyone = query("top_pages", {"limit": "1"}).data
    acme = query("top_pages", {"limit": "1", "tenant_id": "acme"}).data
    true(acme[0]["hits"] < everyone[0]["hits"], "the tenant reached the pipe")
    week = query("kpis", {"tenant_id": "acme", "date_from": "2026-03-01", "date_to": "2026-03-07"})
    same([row["date"] for row in week.data], [f"2026-03-0{day}" for day in range(1, 8)])


def typed_response():
    answer = client.api.pipes.query("top-10-products", parameters={"limit": "2"})
    same(answer.rows, 2)
    same(len(answer.data), 2)
    true(answer.statistics["rows_read"] > 0, "statistics arrived")


def arrays_as_repeated_keys():
    answer = query("echo-params", {"ids": ["3", "-1", "2147483647"], "names": ["ann", "José", "a&b=c", "100% +1"]})
    same(answer.response.request.method, "GET")
    true(answer.response.request.url.count("names=") == 4, "verdin repeats the key")
    echo = by_name(answer)
    same(echo["ids"]["type"], "Array(Int32)")
    same(echo["ids"]["value"], "3,-1,2147483647")
    same(echo["names"]["value"], "ann,José,a&b=c,100% +1")
    same(int(echo["names"]["elements"]), 4)
    same(sorted(echo), ["ids", "names"])

    products = ["acme-01", "acme-02"]
    sales = query("sales_by_products", {"products": products}).data
    same(sorted({row["product_id"] for row in sales}), products)


def nine_kb_get():
    # verdin counts the elements of a list, not their lengths: a long list stays a GET.
    names = [long_text(1024) for _ in range(9)]
    answer = query("echo-params", {"names": names})
    same(answer.response.request.method, "GET")
    true(len(answer.response.request.url) > 9 * 1024, "the URL is long")
    same(by_name(answer)["names"]["value"], ",".join(names))


def form_post_above_8_kb():
    text = long_text(LONGEST_GET + 4000)
    answer = query("echo-params", {"text": text, "ids": ["1", "2"], "names": ["ann", "José & Zoë"]})
    same(answer.response.request.method, "POST")
    same(answer.response.request.headers["Content-Type"], "application/x-www-form-urlencoded")
    echo = by_name(answer)
    same(int(echo["text"]["length"]), len(text))
    same(echo["text"]["value"], text)
    same(echo["ids"]["value"], "1,2")
    same(echo["names"]["value"], "ann,José & Zoë")
    same(sorted(echo), ["ids", "names", "text"])


def form_post_of_40_kb():
    text = long_text(40 * 1024)
    same(by_name(query("echo-params", {"text": text}))["text"]["value"], text)


def control_parameter_refused():
    refused = failure(PipeError, lambda: client.pipe("top-10-products").sql("SELECT count() FROM _"))
    same(refused.response.status_code, 400)
    same(refused.json["code"], "control_parameter")
    readable(refused)


def paging_by_sql_refused():
    refused = failure(PipeError, lambda: next(client.pipe("top-10-products").pages(page_size=2)))
    same(refused.response.status_code, 400)
    readable(refused)


def control_parameter_in_a_form_refused():
    sql = "SELECT * FROM _ WHERE name != '" + long_text(LONGEST_GET) + "'"
    refused = failure(PipeError, lambda: client.pipe("top-10-products").sql(sql))
    same(refused.response.request.method, "POST")
    same(refused.response.status_code, 400)
    same(refused.json["code"], "control_parameter")
    readable(refused)


def neighbours_closed():
    attempts = {
        "list": lambda: client.api.pipes.list(),
        "definition": lambda: client.api.pipes.get_information("kpis"),
        "sql": lambda: client.api.query.query("SELECT 1"),
        "openapi": lambda: client.api.pipes.query("openapi"),
    }
    for name, attempt in attempts.items():
        refused = failure(ApiError, attempt)
        same((name, refused.status_code), (name, 404))
        same(refused.json["code"], "route_not_found")
        # Built by verdin from the body's `error`, which it looks for only if the content type says JSON.
        true(str(refused).startswith(f"API Error (404): {refused.json['error']}"), str(refused))
    refused = failure(QueryError, lambda: client.sql("SELECT 1").json())
    true(str(refused).startswith("404: "), str(refused))


def unknown_pipe():
    refused = failure(PipeError, lambda: query("no_such_pipe", {}))
    same(refused.response.status_code, 404)
    same(refused.json["code"], "route_not_found")
    readable(refused)


def burst_of_500_healed():
    answer = query("flaky", {"fail": "500", "times": "2", "key": unique()})
    same(int(answer.data[0]["attempts"]), 3)


def burst_of_500_healed_for_a_form():
    # Undeclared parameters are ignored by the pipe: this one only makes the call a POST, whose body must be sent again.
    answer = query("flaky", {"fail": "500", "times": "2", "key": unique(), "padding": long_text(LONGEST_GET)})
    same(answer.response.request.method, "POST")
    same(int(answer.data[0]["attempts"]), 3)


def burst_of_429_healed():
    answer = query("flaky", {"fail": "429", "times": "1", "retry_after": "1", "key": unique()})
    same(int(answer.data[0]["attempts"]), 2)


def lasting_500_is_readable():
    refused = failure(PipeError, lambda: query("flaky", {"fail": "500", "times": "100", "key": unique()}))
    same(refused.response.status_code, 500)
    readable(refused)
    shown = re.search(r"DB::|SELECT|clickhouse|tinybird|jane\.doe", refused.response.text, re.IGNORECASE)
    true(shown is None, f"something of the database shows: {shown}")


def error_text_of_400_intact():
    refused = failure(PipeError, lambda: query("required-demo", {}))
    same(refused.response.status_code, 400)
    same(str(refused), "[Error] Missing required parameter 'start_date' (Date)")
    readable(refused)
    refused = failure(PipeError, lambda: query("top-10-products", {"limit": "many"}))
    same(str(refused), "[Error] The value 'many' of parameter 'limit' is not of type Int32")
    same(len(query("required-demo", {"start_date": "2026-03-29"}).data), 3)


def no_credential_needed():
    answer = Client(token="", api=base_url).pipe("top-10-products").query({"limit": "1"})
    true("Authorization" not in answer.response.request.headers, "verdin sent no token")
    same(len(answer.data), 1)


def one_session_many_answers():
    # Mixed on one kept-alive connection, refusals and forms among them: none may leave it out of step.
    pipes = client.api.pipes
    for limit in range(1, 11):
        same(len(pipes.query("top-10-products", parameters={"limit": str(limit)}).data), limit)
        failure(ApiError, lambda: pipes.query("top-10-products", query="SELECT 1"))
        text = long_text(LONGEST_GET + limit)
        same(pipes.query("echo-params", parameters={"text": text}).data[0]["value"], text)


def answers_stay_apart():
    limits = [1 + index % 20 for index in range(40)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = pool.map(lambda limit: query("top-10-products", {"limit": str(limit)}), limits)
        same([len(answer.data) for answer in answers], limits)


def upstream_does_not_show():
    answer = query("top-10-products", {"limit": "1"}).response
    refused = failure(PipeError, lambda: query("required-demo", {})).response
    for headers in (answer.headers, refused.headers):
        shown = "\n".join(f"{name}: {value}" for name, value in headers.items())
        found = re.search(r"tinybird|clickhouse|sqlite|^(server|via|set-cookie|link|x-db-|x-powered)", shown, re.IGNORECASE | re.MULTILINE)
        true(found is None, f"{found} in {shown}")
        true(headers.get("X-Request-Id"), "an X-Request-Id is there")


CHECKS = [
    query_with_parameters,
    typed_response,
    arrays_as_repeated_keys,
    nine_kb_get,
    form_post_above_8_kb,
    form_post_of_40_kb,
    control_parameter_refused,
    paging_by_sql_refused,
    control_parameter_in_a_form_refused,
    neighbours_closed,
    unknown_pipe,
    burst_of_500_healed,
    burst_of_500_healed_for_a_form,
    burst_of_429_healed,
    lasting_500_is_readable,
    error_text_of_400_intact,
    no_credential_needed,
    one_session_many_answers,
    answers_stay_apart,
    upstream_does_not_show,
]


def main() -> int:
    failed = 0
    for check in CHECKS:
        try:
            check()
            print(f"ok {check.__name__}", flush=True)
        except Exception as error:  # A check may fail in any way; the others still run.
            failed += 1
            text = re.sub(r"\s*\n\s*", " | ", f"{type(error).__name__}: {error}")
            print(f"FAIL {check.__name__}: {text}", flush=True)
    return 1 if failed else 0


def query(pipe, parameters):
    # Values are texts: verdin asks each for its length and fails on a number.
    return client.pipe(pipe).query(parameters)


def by_name(answer):
    """The rows of echo-params, by the name of the parameter."""
    return {row["name"]: row for row in answer.data}


def failure(kind, attempt):
    try:
        value = attempt()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} expected, got {value}")


def readable(error: PipeError):
    """The message is the body's `error`, a sentence."""
    true(error.response.headers["Content-Type"].startswith("application/json"), "the content type says JSON")
    same(str(error), error.json["error"])
    true(re.search(r"\w+ \w+", str(error)), f"a sentence: {error}")


def same(found, wanted):
    true(found == wanted, f"found {shortened(found)}, wanted {shortened(wanted)}")


def true(condition, why):
    # Not `assert`, which `python -O` drops.
    if not condition:
        raise AssertionError(why)


def shortened(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}.. ({len(text)} characters)"


def unique():
    return f"verdin-{time.monotonic_ns()}"


def long_text(length):
    """Text in which a lost, doubled or moved piece shows."""
    return "".join(f"{at}." for at in range(length))[:length]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python verdin_client.py BASE_URL TOKEN")
    base_url, token = sys.argv[1:]
    client = Client(token=token, api=base_url)
    sys.exit(main())
