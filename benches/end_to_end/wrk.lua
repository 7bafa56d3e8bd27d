-- Prints what wrk measured as one line of JSON, in microseconds; run.sh adds the rest.
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'SAMPLE "requests": %d, "micros": %d, "p50": %.1f, "p99": %.1f, "errors": %d, "wrong": %d\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
