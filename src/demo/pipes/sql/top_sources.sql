-- Where visits come from.
SELECT referrer AS referrer, count(DISTINCT session_id) AS visits, count(*) AS hits
FROM analytics_events
WHERE action = 'page_hit'
  AND date(timestamp) BETWEEN :date_from AND :date_to
  AND (coalesce(:tenant_id, '') = '' OR tenant_id = :tenant_id)
  AND (coalesce(:domain, '') = '' OR domain = :domain)
GROUP BY referrer
ORDER BY visits DESC, hits DESC, referrer
LIMIT :limit
