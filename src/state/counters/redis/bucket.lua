-- How buckets are kept; stands in front of every script.
--
-- A bucket holds `when:backlog` or `began:used`, and behind it perhaps a mark: `r` once somebody reset it; `b` and a
-- number while all that is known of a quota is what gateways remembered (the number, the most that one of them did) and
-- told since.

local MOST = 9007199254740991

local function read(key)
  local first, second, mark = string.match(redis.call('GET', key) or '', '^(%d+):(%d+)(.*)$')
  return tonumber(first), tonumber(second), mark or ''
end

local function write(key, first, second, mark, life)
  redis.call('SET', key, string.format('%.0f:%.0f%s', first, second, mark), 'PX', string.format('%.0f', life))
end

-- The server's time in microseconds, unless a test says another.
local function time(given)
  if given > 0 then return given end
  local parts = redis.call('TIME')
  return tonumber(parts[1]) * 1000000 + tonumber(parts[2])
end

-- Of four moments in ARGV from `first` on, those two between which it is now.
local function stretch(now, first)
  local last = first + 2
  while first < last and now >= tonumber(ARGV[first + 1]) * 1000000 do first = first + 1 end
  return tonumber(ARGV[first]), tonumber(ARGV[first + 1])
end
