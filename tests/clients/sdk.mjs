// Tinybird's TypeScript SDK against a running gateway in front of the demo upstream.
//
// Usage: node sdk.mjs BASE_URL TOKEN. Out: one line per check, `ok NAME` or `FAIL NAME: why`; exit code 1 if one failed.
// TOKEN is the caller's own and must be one the upstream does not know: that anything is answered shows that the gateway replaced it.
// Not here: starting the gateway (tests/clients/main.rs).

import assert from "node:assert/strict";
import { Tinybird, TinybirdError, createClient, createTinybirdApi, defineEndpoint, node, p, t } from "@tinybirdco/sdk";

const [baseUrl, token] = process.argv.slice(2);
if (!baseUrl || !token) {
  console.error("usage: node sdk.mjs BASE_URL TOKEN");
  process.exit(2);
}

// What the client really did on the wire since the last `wire.length = 0`.
const wire = [];
async function recorded(url, init) {
  const response = await fetch(url, init);
  wire.push({ url: new URL(url), method: init.method, status: response.status, headers: response.headers });
  return response;
}

const client = createClient({ baseUrl, token, fetch: recorded });

const checks = {
  async query_with_parameters() {
    const january = await client.query("top-10-products", { date_start: "2026-01-01", date_end: "2026-01-31", limit: 5 });
    assert.equal(january.data.length, 5);
    assert.equal(january.rows, 5);
    assert.deepEqual(january.meta.map((column) => column.name), ["product_id", "name", "category", "units", "revenue"]);
    assert.equal(typeof january.statistics.rows_read, "number");
    const revenues = january.data.map((row) => row.revenue);
    assert.deepEqual(revenues, revenues.toSorted((a, b) => b - a), "the best come first");

    const quarter = await client.query("top-10-products", { limit: 5 });
    assert.ok(quarter.data[0].revenue > january.data[0].revenue, "the dates reached the pipe");
    const default_limit = await client.query("top-10-products");
    assert.equal(default_limit.data.length, 10);
  },

  async typed_endpoints() {
    const tinybird = new Tinybird({
      baseUrl,
      token,
      devMode: false,
      datasources: {},
      pipes: {
        topPages: defineEndpoint("top_pages", {
          params: { tenant_id: p.string().optional(), date_from: p.date().optional(), date_to: p.date().optional(), limit: p.int32().optional(10) },
          nodes: [node({ name: "endpoint", sql: "SELECT 1" })],
          output: { pathname: t.string(), visits: t.uint64(), hits: t.uint64() },
        }),
        kpis: defineEndpoint("kpis", {
          params: { tenant_id: p.string().optional(), date_from: p.date().optional(), date_to: p.date().optional() },
          nodes: [node({ name: "endpoint", sql: "SELECT 1" })],
          output: { date: t.date(), visits: t.uint64() },
        }),
      },
    });
    const everyone = await tinybird.topPages.query({ limit: 1 });
    const acme = await tinybird.topPages.query({ tenant_id: "acme", limit: 1 });
    assert.equal(acme.data.length, 1);
    assert.ok(acme.data[0].hits < everyone.data[0].hits, "the tenant reached the pipe");
    const week = await tinybird.kpis.query({ tenant_id: "acme", date_from: "2026-03-01", date_to: "2026-03-07" });
    assert.deepEqual(week.data.map((row) => row.date), [1, 2, 3, 4, 5, 6, 7].map((day) => `2026-03-0${day}`));
  },

  async arrays_as_repeated_keys() {
    const echo = await echoed({ ids: [3, -1, 2147483647], names: ["ann", "José", "a&b=c", "100% +1"] });
    assert.deepEqual(wire.at(-1).url.searchParams.getAll("ids"), ["3", "-1", "2147483647"]);
    assert.equal(echo.ids.type, "Array(Int32)");
    assert.equal(echo.ids.value, "3,-1,2147483647");
    assert.equal(echo.names.value, "ann,José,a&b=c,100% +1");
    assert.equal(Number(echo.names.elements), 4);

    const products = ["acme-01", "acme-02"];
    const sales = await client.query("sales_by_products", { products });
    assert.deepEqual([...new Set(sales.data.map((row) => row.product_id))], products);
  },

  async nothing_added_to_the_parameters() {
    const echo = await echoed({ text: "x" });
    assert.deepEqual(Object.keys(echo).sort(), ["from", "text"], "`from` is the SDK's own tag");
    assert.equal(echo.from.value, "ts-sdk");
  },

  async nine_kb_get() {
    const text = long(9 * 1024);
    const echo = await echoed({ text });
    assert.equal(wire.at(-1).method, "GET");
    assert.ok(wire.at(-1).url.href.length > 9 * 1024);
    assert.equal(echo.text.value, text);
  },

  async control_parameter_refused() {
    const refused = await failure(client.query("top-10-products", { q: "SELECT * FROM _ LIMIT 1" }));
    assert.equal(refused.statusCode, 400);
    assert.equal(refused.response.code, "control_parameter");
    readable(refused);
  },

  async neighbours_closed() {
    const attempts = {
      sql: () => client.sql("SELECT 1"),
      ingest: () => client.ingest("analytics_events", { action: "page_hit" }),
      openapi: () => client.query("openapi"),
      definition: () => createTinybirdApi({ baseUrl, token, fetch: recorded }).requestJson("/v0/pipes/kpis"),
      list: () => createTinybirdApi({ baseUrl, token, fetch: recorded }).requestJson("/v0/pipes"),
      tokens: () => createTinybirdApi({ baseUrl, token, fetch: recorded }).createToken({ name: "x", scopes: [] }),
    };
    for (const [name, attempt] of Object.entries(attempts)) {
      const refused = await failure(attempt());
      assert.equal(refused.statusCode, 404, name);
      readable(refused);
    }
  },

  async unknown_pipe() {
    const refused = await failure(client.query("no_such_pipe"));
    assert.ok(refused instanceof TinybirdError && refused.isNotFoundError());
    assert.equal(refused.response.code, "route_not_found");
    readable(refused);
  },

  async burst_of_500_healed() {
    const result = await client.query("flaky", { fail: 500, times: 2, key: unique() });
    assert.equal(wire.length, 1, "the client saw one answer");
    assert.equal(Number(result.data[0].attempts), 3, "the gateway asked three times");
  },

  async burst_of_429_healed() {
    const result = await client.query("flaky", { fail: 429, times: 1, retry_after: 1, key: unique() });
    assert.equal(wire.length, 1);
    assert.equal(Number(result.data[0].attempts), 2);
  },

  async lasting_500_is_readable() {
    const refused = await failure(client.query("flaky", { fail: 500, times: 100, key: unique() }));
    assert.ok(refused instanceof TinybirdError && refused.isServerError());
    readable(refused);
    assert.doesNotMatch(JSON.stringify(refused.response), /DB::|SELECT|clickhouse|tinybird|jane\.doe/i, "nothing of the database shows");
  },

  async error_text_of_400_intact() {
    const missing = await failure(client.query("required-demo"));
    assert.equal(missing.statusCode, 400);
    assert.equal(missing.message, "[Error] Missing required parameter 'start_date' (Date)");
    const wrong = await failure(client.query("top-10-products", { limit: "many" }));
    assert.equal(wrong.statusCode, 400);
    assert.equal(wrong.message, "[Error] The value 'many' of parameter 'limit' is not of type Int32");
    const present = await client.query("required-demo", { start_date: "2026-03-29" });
    assert.equal(present.data.length, 3);
  },

  async no_credential_needed() {
    const bare = createClient({
      baseUrl,
      token,
      fetch(url, init) {
        init.headers.delete("Authorization");
        return recorded(url, init);
      },
    });
    const result = await bare.query("top-10-products", { limit: 1 });
    assert.equal(result.data.length, 1);
  },

  async trailing_slash_in_base_url() {
    const result = await createClient({ baseUrl: `${baseUrl}/`, token }).query("top-10-products", { limit: 1 });
    assert.equal(result.data.length, 1);
  },

  async answers_stay_apart() {
    const limits = Array.from({ length: 40 }, (_, index) => 1 + (index % 20));
    const results = await Promise.all(limits.map((limit) => client.query("top-10-products", { limit })));
    assert.deepEqual(results.map((result) => result.data.length), limits);
  },

  async upstream_does_not_show() {
    await client.query("top-10-products", { limit: 1 });
    await failure(client.query("required-demo"));
    for (const { headers } of wire) {
      const shown = [...headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      assert.doesNotMatch(shown, /tinybird|clickhouse|sqlite|^(server|via|set-cookie|link|x-db-|x-powered)/im);
      assert.ok(headers.get("x-request-id"));
    }
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  wire.length = 0;
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${explain(error)}`);
  }
}
process.exitCode = failed === 0 ? 0 : 1;

// The rows of echo-params, by the name of the parameter.
async function echoed(params) {
  const { data } = await client.query("echo-params", params);
  return Object.fromEntries(data.map((row) => [row.name, row]));
}

async function failure(promise) {
  const result = await promise.then((value) => ({ value }), (error) => ({ error }));
  assert.ok("error" in result, `refusal expected, got ${JSON.stringify(result.value)?.slice(0, 200)}`);
  if (result.error?.statusCode === undefined) {
    throw result.error; // Not an answer of the gateway.
  }
  return result.error;
}

// The SDK took its message from the body's `error`; without one it makes up "Request failed with status ..".
function readable(error) {
  assert.equal(typeof error.response?.error, "string");
  assert.equal(error.message, error.response.error);
  assert.match(error.message, /\w+ \w+/);
}

function unique() {
  return `sdk-${process.pid}-${process.hrtime.bigint()}`;
}

// Text of that many bytes in which a lost, doubled or moved piece shows.
function long(bytes) {
  let text = "";
  for (let at = 0; text.length < bytes; at += 1) {
    text += `${at}.`;
  }
  return text.slice(0, bytes);
}

// One line: assertions of objects span many.
function explain(error) {
  const status = error.statusCode === undefined ? "" : `status ${error.statusCode}: `;
  const cause = error.cause === undefined ? "" : ` (${error.cause})`;
  return `${status}${error.message}${cause}`.replace(/\s*\n\s*/g, " | ");
}
