-- Every parameter as it arrived, declared or not; lengths are in bytes.
SELECT
  value ->> 'name' AS name,
  value ->> 'type' AS type,
  value ->> 'value' AS value,
  value ->> 'elements' AS elements,
  value ->> 'length' AS length,
  sum(value ->> 'length') OVER () AS total_length
FROM json_each(:received)
ORDER BY name
