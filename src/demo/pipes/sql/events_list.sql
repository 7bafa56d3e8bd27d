-- Raw events, newest first; visitor_hash does not fit into a double.
SELECT
  timestamp, session_id, action, version, tenant_id, domain, pathname, referrer, country, device, duration_ms, visitor_hash,
  CASE WHEN :with_payload THEN payload ELSE '' END AS payload
FROM analytics_events
WHERE date(timestamp) BETWEEN :date_from AND :date_to
  AND (:since IS NULL OR timestamp >= :since)
  AND (coalesce(:tenant_id, '') = '' OR tenant_id = :tenant_id)
  AND (coalesce(:domain, '') = '' OR domain = :domain)
ORDER BY timestamp DESC, visitor_hash
LIMIT :limit
