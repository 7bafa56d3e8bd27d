// Tinybird's TypeScript SDK with JWTs of its own, through a gateway that checks them.
//
// Usage: node jwt.mjs GATEWAY UPSTREAM ADMIN_TOKEN WORKSPACE_ID REQUESTS. Out: one line per check, `ok NAME` or `FAIL NAME: why`; exit code 1 if one failed.
// A customer's server asks UPSTREAM to sign (`tokens.createJWT`, or signs by itself with the admin token), its browsers call GATEWAY with what they got.
// REQUESTS is how many calls of two tenants are mixed in the last check.
// Not here: starting either, and what the upstream received (tests/clients/jwt.rs).

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { TinybirdError, createClient, createTinybirdApi } from "@tinybirdco/sdk";

const [gateway, upstream, adminToken, workspaceId, requests] = process.argv.slice(2);
if (!requests) {
  console.error("usage: node jwt.mjs GATEWAY UPSTREAM ADMIN_TOKEN WORKSPACE_ID REQUESTS");
  process.exit(2);
}

const PIPE = "sales_by_products";
const OTHER_PIPE = "top-10-products";
const server = createClient({ baseUrl: upstream, token: adminToken });

const checks = {
  async a_token_of_the_sdk_reads_its_tenants_rows() {
    for (const tenant of ["acme", "beta", "gamma"]) {
      const client = browser(await ordered({ tenant }));
      same_tenant((await client.query(PIPE)).data, tenant);
      same_tenant((await client.query(OTHER_PIPE, { limit: 5 })).data, tenant);
    }
  },

  async the_tenant_cannot_be_talked_around() {
    const client = browser(await ordered({ tenant: "acme" }));
    for (const company_id of ["beta", "", ["beta", "gamma"], ["acme", "beta"]]) {
      same_tenant((await client.query(PIPE, { company_id })).data, "acme");
    }
    const token = await ordered({ tenant: "acme" });
    const post = (type, body) => asked(`/v0/pipes/${PIPE}.json?company_id=beta`, token, { method: "POST", headers: { "Content-Type": type }, body });
    same_tenant((await post("application/x-www-form-urlencoded", "company_id=beta&company_id=")).body.data, "acme");
    same_tenant((await post("application/json", JSON.stringify({ company_id: "gamma" }))).body.data, "acme");
    same_tenant((await post("application/json", JSON.stringify({ company_id: null }))).body.data, "acme");
  },

  async tokens_as_the_demos_sign_them_are_taken() {
    // `Date.now() / 1000 + 600` without rounding, no `alg`, no `iat`; and the pipe by its id, which the route knows.
    const soon = Date.now() / 1000 + 600.25;
    same_tenant((await browser(signed({ tenant: "beta", exp: soon })).query(PIPE)).data, "beta");
    same_tenant((await browser(signed({ tenant: "beta", header: { typ: "JWT" } })).query(PIPE)).data, "beta");
    same_tenant((await browser(signed({ tenant: "beta", resource: await id(PIPE) })).query(PIPE)).data, "beta");
  },

  async a_token_in_the_query_is_one_too() {
    const answer = await asked(`/v0/pipes/${PIPE}.json?token=${signed({ tenant: "gamma" })}`);
    assert.equal(answer.status, 200);
    same_tenant(answer.body.data, "gamma");
  },

  async an_expired_token_is_refreshed() {
    // What both public JWT demos do: on 403, ask for another token and try again.
    const statuses = [];
    let client = browser(signed({ tenant: "acme", exp: Date.now() / 1000 - 120 }));
    for (let attempt = 0; attempt < 2; attempt += 1) {
      try {
        same_tenant((await client.query(PIPE)).data, "acme");
        statuses.push(200);
      } catch (error) {
        assert.ok(error instanceof TinybirdError && error.isAuthError(), String(error));
        assert.equal(error.response.code, "credential_expired");
        readable(error);
        statuses.push(error.statusCode);
        client = browser(await ordered({ tenant: "acme" }));
      }
    }
    assert.deepEqual(statuses, [403, 200]);
  },

  async wrong_tokens_are_refused() {
    const another = "p.another-workspace-admin-token-of-a-good-length";
    const whole = signed({ tenant: "acme" });
    const payload = Buffer.from(Buffer.from(whole.split(".")[1], "base64url").toString().replace("acme", "beta"));
    const wrong = {
      another_key: [signed({ tenant: "acme", key: another }), "credential_invalid"],
      changed: [whole.replace(/\.[^.]+\./, `.${payload.toString("base64url")}.`), "credential_invalid"],
      endless: [signed({ tenant: "acme", exp: undefined }), "credential_invalid"],
      nameless: [signed({ tenant: "acme", name: undefined }), "credential_invalid"],
      other_pipe: [signed({ tenant: "acme", resource: OTHER_PIPE }), "forbidden"],
      writing: [signed({ tenant: "acme", type: "DATASOURCES:APPEND" }), "forbidden"],
      no_tenant: [signed({ tenant: undefined }), "tenant_missing"],
      empty_tenant: [signed({ tenant: "" }), "tenant_missing"],
    };
    for (const [name, [token, code]] of Object.entries(wrong)) {
      const refused = await failure(browser(token).query(PIPE));
      assert.deepEqual([refused.statusCode, refused.response.code], [403, code], name);
      readable(refused);
    }
  },

  async strangers_are_refused() {
    const bare = await asked(`/v0/pipes/${PIPE}.json`);
    assert.deepEqual([bare.status, bare.body.code], [401, "credential_missing"]);
    // Nobody recognises these: a static token of Tinybird's, the admin token itself, a token of another workspace.
    const elsewhere = signed({ tenant: "acme", workspace_id: "11111111-2222-4333-8444-555555555555" });
    for (const token of ["p.a-token-the-gateway-does-not-know", adminToken, elsewhere]) {
      const refused = await failure(browser(token).query(PIPE));
      assert.deepEqual([refused.statusCode, refused.response.code], [401, "credential_invalid"]);
    }
  },

  async neighbours_stay_closed() {
    const token = await ordered({ tenant: "acme" });
    const api = createTinybirdApi({ baseUrl: gateway, token });
    const attempts = {
      sql: () => browser(token).sql("SELECT 1"),
      definition: () => api.requestJson(`/v0/pipes/${PIPE}`),
      list: () => api.requestJson("/v0/pipes"),
      tokens: () => api.createToken({ name: "x", scopes: [] }, { expirationTime: 4_000_000_000 }),
    };
    for (const [name, attempt] of Object.entries(attempts)) {
      assert.equal((await failure(attempt())).statusCode, 404, name);
    }
    assert.equal((await failure(browser(token).query(PIPE, { q: "SELECT 1" }))).statusCode, 400);
  },

  async calls_per_second_are_limited_by_name() {
    const token = await ordered({ tenant: "gamma", name: "hasty", limits: { rps: 1 } });
    const path = `/v0/pipes/${PIPE}.json?date_start=2026-03-31`;
    const answers = await Promise.all(Array.from({ length: 20 }, () => asked(path, token)));
    const limited = answers.filter((answer) => answer.status === 429);
    assert.ok(answers.some((answer) => answer.status === 200) && limited.length > 0, answers.map((answer) => answer.status).join());
    for (const answer of limited) {
      assert.ok(Number(answer.headers.get("retry-after")) >= 1);
      assert.equal(typeof answer.body.error, "string");
    }
    // Another name is another count.
    same_tenant((await browser(await ordered({ tenant: "gamma", name: "patient" })).query(PIPE)).data, "gamma");
  },

  async two_tenants_mixed_stay_apart() {
    const tenants = ["acme", "beta"];
    const tokens = [];
    for (let number = 0; number < 4; number += 1) {
      for (const tenant of tenants) {
        tokens.push({ tenant, token: await ordered({ tenant, name: `${tenant}-user-${number}` }) });
      }
    }
    const expired = signed({ tenant: "acme", exp: Date.now() / 1000 - 120 });
    const path = `/v0/pipes/${PIPE}.json`;
    const ask = async (number) => {
      const { tenant, token } = tokens[number % tokens.length];
      const other = tenants.find((name) => name !== tenant);
      const query = { date_start: "2026-03-30", company_id: other };
      if (number % 50 === 0) {
        assert.equal((await asked(`${path}?company_id=${other}`, expired)).status, 403);
      } else if (number % 10 === 1) {
        const form = { method: "POST", headers: { "Content-Type": "application/x-www-form-urlencoded" }, body: `company_id=${other}` };
        same_tenant((await asked(`${path}?date_start=2026-03-30`, token, form)).body.data, tenant);
      } else {
        same_tenant((await browser(token).query(PIPE, number % 2 === 0 ? query : { date_start: "2026-03-30" })).data, tenant);
      }
    };
    let begun = 0;
    const work = async () => {
      while (begun < Number(requests)) {
        begun += 1;
        if (begun % 1_000 === 0) {
          console.log(`${begun} requests`);
        }
        await ask(begun);
      }
    };
    await Promise.all(Array.from({ length: 32 }, work));
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${String(error?.message ?? error).replace(/\s*\n\s*/g, " | ")}`);
  }
}
process.exit(failed === 0 ? 0 : 1);

function browser(token) {
  return createClient({ baseUrl: gateway, token });
}

// By the SDK, as its README says: `POST /v0/tokens/` with the admin token.
async function ordered({ tenant, name = `${tenant}-frontend`, limits }) {
  const { token } = await server.tokens.createJWT({
    name,
    expiresAt: new Date(Date.now() + 10 * 60 * 1000),
    scopes: [PIPE, OTHER_PIPE].map((resource) => ({ type: "PIPES:READ", resource, fixed_params: { company_id: tenant } })),
    limits,
  });
  return token;
}

// By hand, for what the SDK would not sign. What is undefined is left out.
function signed(order) {
  const { tenant, header = { alg: "HS256", typ: "JWT" }, key = adminToken, resource = PIPE, type = "PIPES:READ" } = order;
  const payload = {
    workspace_id: order.workspace_id ?? workspaceId,
    name: "name" in order ? order.name : `${tenant}-own`,
    exp: "exp" in order ? order.exp : Math.floor(Date.now() / 1000) + 600,
    scopes: [{ type, resource, fixed_params: { company_id: tenant } }],
  };
  const parts = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${parts}.${createHmac("sha256", key).update(parts).digest("base64url")}`;
}

// Without the SDK, for what it cannot send.
async function asked(path, token, init = {}) {
  const headers = { ...init.headers, ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) };
  const response = await fetch(`${gateway}${path}`, { ...init, headers });
  const body = await response.json();
  return { status: response.status, headers: response.headers, body };
}

// The upstream's id of a pipe.
async function id(pipe) {
  const { id } = await createTinybirdApi({ baseUrl: upstream, token: adminToken }).requestJson(`/v0/pipes/${pipe}`);
  return id;
}

// Every product is named after the company that sells it.
function same_tenant(rows, tenant) {
  assert.ok(rows?.length > 0, `rows expected, got ${JSON.stringify(rows)}`);
  const foreign = rows.filter((row) => !row.product_id.startsWith(`${tenant}-`));
  assert.deepEqual(foreign.slice(0, 3), [], `foreign rows for ${tenant}`);
}

async function failure(promise) {
  const result = await promise.then((value) => ({ value }), (error) => ({ error }));
  assert.ok("error" in result, `refusal expected, got ${JSON.stringify(result.value)?.slice(0, 200)}`);
  if (result.error?.statusCode === undefined) {
    throw result.error; // Not an answer.
  }
  return result.error;
}

// The SDK took its message from the body's `error`.
function readable(error) {
  assert.equal(error.message, error.response.error);
  assert.match(error.message, /\w+ \w+/);
}
