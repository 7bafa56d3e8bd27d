-- What became known after decisions: costs, what is given back, what was spent while the server was away, resets.
--
-- KEYS: the gateway's own mark, then a bucket for each change.
-- ARGV: the number of this letter; the time, 0 for the server's own; then what each change says, one behind the other:
--   rate, what is given back
--   quota, what is added (or taken away, below 0), from when to when the stretch is, floor, trust (as in decide.lua)
--   forget, how long that must be remembered (milliseconds), and where four stretches began (0 for rates)
-- Out: the time, and whether this was done now (1) or, because a letter is sent again until it is answered, before (0).

local letter, now = tonumber(ARGV[1]), time(tonumber(ARGV[2]))
if tonumber(redis.call('GET', KEYS[1]) or '0') >= letter then return {now, 0} end

local changes = {}

function changes.rate(key, at)
  local since, early, mark = read(key)
  if since then
    write(key, since, math.max(0, early - tonumber(ARGV[at + 1])), mark, math.max(redis.call('PTTL', key), 1))
  end
  return 2
end

function changes.quota(key, at)
  local added, began, ends = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local floor = tonumber(ARGV[at + 4])
  local since, used, mark = read(key)
  if not since or since < began then since, used, mark = began, 0, 'b0' end
  local base = tonumber(string.match(mark, '^b(%d+)$'))
  if base and floor > base then
    used, mark = used + floor - base, string.format('b%.0f', floor)
  elseif mark == '' and ARGV[at + 5] == 'more' then
    used = math.max(used, floor)
  end
  local left = ends + 86400 - math.floor(now / 1000000)
  -- What belongs to a stretch that is over is of no use to anybody.
  if since == began and left > 0 then
    write(key, began, math.max(0, math.min(used + added, MOST)), mark, left * 1000)
  end
  return 6
end

function changes.forget(key, at)
  local began = stretch(now, at + 2)
  -- The mark keeps what gateways remember from coming back.
  write(key, began > 0 and began or now, 0, 'r', tonumber(ARGV[at + 1]))
  return 6
end

local at = 3
for i = 2, #KEYS do at = at + changes[ARGV[at]](KEYS[i], at) end
redis.call('SET', KEYS[1], string.format('%.0f', letter), 'PX', 86400000)
return {now, 1}
