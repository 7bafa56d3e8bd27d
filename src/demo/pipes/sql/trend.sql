-- Visits per hour of one day.
SELECT strftime('%Y-%m-%d %H:00:00', timestamp) AS t, count(DISTINCT session_id) AS visits, count(*) AS hits
FROM analytics_events
WHERE action = 'page_hit'
  AND date(timestamp) = :date
  AND (coalesce(:tenant_id, '') = '' OR tenant_id = :tenant_id)
  AND (coalesce(:domain, '') = '' OR domain = :domain)
GROUP BY t
ORDER BY t
