-- What is left to say once the ordered failures are through.
SELECT :key AS key, :attempts AS attempts, 'succeeded' AS outcome
