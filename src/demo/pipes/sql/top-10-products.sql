-- The products that earned the most. Without a company: of all companies.
SELECT
  products.product_id, products.name, products.category,
  sum(sales.units) AS units,
  round(sum(sales.amount_cents) / 100.0, 2) AS revenue
FROM sales
JOIN products USING (product_id)
WHERE date(sales.sold_at) BETWEEN :date_start AND :date_end
  AND (coalesce(:company_id, '') = '' OR sales.company_id = :company_id)
GROUP BY products.product_id
ORDER BY revenue DESC, products.product_id
LIMIT :limit
