-- Sales per day from a date that must be given.
SELECT date(sold_at) AS date, count(*) AS sales, sum(units) AS units
FROM sales
WHERE date(sold_at) BETWEEN :start_date AND :end_date
GROUP BY 1
ORDER BY 1
