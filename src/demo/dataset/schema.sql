CREATE TABLE analytics_events (
  timestamp    TEXT    NOT NULL,
  session_id   TEXT    NOT NULL,
  action       TEXT    NOT NULL,
  version      TEXT    NOT NULL,
  payload      TEXT    NOT NULL,
  tenant_id    TEXT    NOT NULL,
  domain       TEXT    NOT NULL,
  pathname     TEXT    NOT NULL,
  referrer     TEXT    NOT NULL,
  country      TEXT    NOT NULL,
  device       TEXT    NOT NULL,
  duration_ms  INTEGER NOT NULL,
  visitor_hash INTEGER NOT NULL
);
CREATE TABLE products (
  product_id  TEXT    NOT NULL,
  name        TEXT    NOT NULL,
  category    TEXT    NOT NULL,
  price_cents INTEGER NOT NULL,
  company_id  TEXT    NOT NULL
);
CREATE TABLE sales (
  sale_id      INTEGER NOT NULL,
  product_id   TEXT    NOT NULL,
  company_id   TEXT    NOT NULL,
  sold_at      TEXT    NOT NULL,
  units        INTEGER NOT NULL,
  amount_cents INTEGER NOT NULL
);
