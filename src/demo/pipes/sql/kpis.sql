-- Visits, page views and bounce rate per day. Without a tenant: of all tenants.
WITH sessions AS (
  SELECT date(timestamp) AS day, session_id, count(*) AS hits, sum(duration_ms) AS spent_ms
  FROM analytics_events
  WHERE action = 'page_hit'
  AND date(timestamp) BETWEEN :date_from AND :date_to
  AND (coalesce(:tenant_id, '') = '' OR tenant_id = :tenant_id)
  AND (coalesce(:domain, '') = '' OR domain = :domain)
  GROUP BY day, session_id
)
SELECT
  day AS date,
  count(*) AS visits,
  sum(hits) AS pageviews,
  round(avg(hits = 1), 4) AS bounce_rate,
  round(avg(spent_ms) / 1000.0, 1) AS avg_session_sec
FROM sessions
GROUP BY day
ORDER BY day
