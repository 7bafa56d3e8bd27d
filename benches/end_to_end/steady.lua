-- A steady load: every connection rests between two requests, so that what is measured is the time
-- of a request and not a queue. Prints one line of JSON, in microseconds.
function delay()
  return 4
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'SAMPLE {"requests": %d, "p50": %.1f, "p99": %.1f, "p999": %.1f, "max": %.1f, "errors": %d}\n',
    summary.requests, latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
