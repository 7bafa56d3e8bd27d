-- The most visited pages.
SELECT pathname AS pathname, count(DISTINCT session_id) AS visits, count(*) AS hits
FROM analytics_events
WHERE action = 'page_hit'
  AND date(timestamp) BETWEEN :date_from AND :date_to
  AND (coalesce(:tenant_id, '') = '' OR tenant_id = :tenant_id)
  AND (coalesce(:domain, '') = '' OR domain = :domain)
GROUP BY pathname
ORDER BY visits DESC, hits DESC, pathname
LIMIT :limit
