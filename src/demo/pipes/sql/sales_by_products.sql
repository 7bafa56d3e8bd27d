-- Sales per month of chosen products; of all, if none are chosen.
SELECT
  product_id,
  date(sold_at, 'start of month') AS month,
  sum(units) AS units,
  round(sum(amount_cents) / 100.0, 2) AS revenue
FROM sales
WHERE (json_array_length(coalesce(:products, '[]')) = 0 OR product_id IN (SELECT value FROM json_each(:products)))
  AND date(sold_at) BETWEEN :date_start AND :date_end
  AND (coalesce(:company_id, '') = '' OR company_id = :company_id)
GROUP BY product_id, month
ORDER BY product_id, month
