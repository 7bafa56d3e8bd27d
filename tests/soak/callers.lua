-- Callers whose every answer must be their own, for wrk with as many threads as connections.
--
-- Arguments: a word that nobody else has; milliseconds that a connection rests between two requests (0: none); a file of
-- tokens, as benches/end_to_end/tokens.py makes them (an empty one: none); whether each twentieth request meets a fault of the
-- upstream: 500, 503, or a connection that is reset. Prints one line of JSON.

local faults = { "500", "503", "reset" }
local statuses = { ["500"] = 500, ["503"] = 503, reset = 502 }
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  threads[#threads + 1] = thread
end

function init(args)
  word, rest, with_faults = args[1], tonumber(args[2]), args[4] == "faults"
  tokens, turn, answers, wrong, refused, what = {}, 0, 0, 0, 0, ""
  for token in io.lines(args[3]) do
    tokens[#tokens + 1] = token
  end
  math.randomseed(os.time() + (number or 0))
  if rest > 0 then
    -- wrk knows whole milliseconds; on the average it is what was asked for.
    delay = function() return math.floor(rest + math.random()) end
  end
end

function request()
  turn = turn + 1
  local id = word .. "-" .. (number or 0) .. "-" .. turn
  local fault = with_faults and turn % 20 == 0 and faults[turn / 20 % 3 + 1] or nil
  local path, headers, company = "/public", {}, ""
  if #tokens > 0 then
    local at = turn % #tokens
    path, company = "/sales", string.format("tenant-%04d", at)
    headers["Authorization"] = "Bearer " .. tokens[at + 1]
  end
  wanted_status = fault and statuses[fault] or 200
  wanted_body = '{"id":"' .. id .. '","company":"' .. company .. '","statistics":{"elapsed":0.001,"rows_read":10,"bytes_read":100}}'
  wanted_id = id
  headers["X-Request-Id"] = id
  return wrk.format("GET", path .. "?id=" .. id .. (fault and "&fault=" .. fault or ""), headers)
end

function response(status, headers, body)
  answers = answers + 1
  local is_own = body == wanted_body
  if wanted_status ~= 200 then
    refused = refused + 1
    is_own = body:find('"request_id":"' .. wanted_id .. '"', 1, true) ~= nil
  end
  if status ~= wanted_status or not is_own then
    wrong = wrong + 1
    if what == "" then
      what = wanted_id .. " was to be " .. wanted_status .. " and is " .. status .. ": " .. body
    end
  end
end

local function quoted(text)
  return '"' .. text:sub(1, 300):gsub('[%c"\\]', function(c) return string.format("\\u%04x", c:byte()) end) .. '"'
end

function done(summary, latency)
  local answers, wrong, refused, what, errors = 0, 0, 0, "", summary.errors
  for _, thread in ipairs(threads) do
    answers, wrong, refused = answers + thread:get("answers"), wrong + thread:get("wrong"), refused + thread:get("refused")
    if what == "" then what = thread:get("what") end
  end
  io.write(string.format(
    'SAMPLE {"answers": %d, "wrong": %d, "refused": %d, "errors": %d, "p50": %.1f, "p99": %.1f, "what": %s}\n',
    answers, wrong, refused, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), quoted(what)))
end
