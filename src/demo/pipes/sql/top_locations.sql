-- Which countries visits come from.
SELECT country AS location, count(DISTINCT session_id) AS visits, count(*) AS hits
FROM analytics_events
WHERE action = 'page_hit'
  AND date(timestamp) BETWEEN :date_from AND :date_to
  AND (coalesce(:tenant_id, '') = '' OR tenant_id = :tenant_id)
  AND (coalesce(:domain, '') = '' OR domain = :domain)
GROUP BY country
ORDER BY visits DESC, hits DESC, country
LIMIT :limit
