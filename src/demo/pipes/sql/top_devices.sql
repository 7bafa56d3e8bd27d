-- Which devices visits are made with.
SELECT device AS device, count(DISTINCT session_id) AS visits, count(*) AS hits
FROM analytics_events
WHERE action = 'page_hit'
  AND date(timestamp) BETWEEN :date_from AND :date_to
  AND (coalesce(:tenant_id, '') = '' OR tenant_id = :tenant_id)
  AND (coalesce(:domain, '') = '' OR domain = :domain)
GROUP BY device
ORDER BY visits DESC, hits DESC, device
LIMIT :limit
