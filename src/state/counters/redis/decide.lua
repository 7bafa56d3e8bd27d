-- One decision over all asks of a request: all are spent, or none. The arithmetic is that of algorithm.rs.
--
-- KEYS: the bucket of each ask.
-- ARGV: `spend` or `look`; the time, 0 for the server's own; the time after which nobody waits for the answer, 0 for never;
-- then what each ask says, one behind the other:
--   rate, mode, interval, burst, floor, trust
--   quota, mode, amount, reserve, floor, trust, where the floor's stretch began, and where four stretches began
-- Out: the time; whether it was spent (1), refused (0) or came too late (2); then of each ask the backlog or what is used,
-- whether it was taken (1, 0), and from when to when its stretch is.
--
-- A floor is what the gateway last knew. It counts where the bucket is gone; and where trust says `more`, because the
-- server may have lost something, if it is more; never after a reset.
--
-- Moments are microseconds since 1970, those of stretches seconds; intervals and backlogs nanoseconds. All are whole
-- numbers below 2^53, which are exact here.

local spends, now, latest = ARGV[1] == 'spend', time(tonumber(ARGV[2])), tonumber(ARGV[3])
if latest > 0 and now > latest then return {now, 2} end

-- What is known here and what the gateway knows, as one number, and whether the gateway knew more.
local function joined(known, mark, floor, trust)
  if not known then return floor, floor > 0 end
  if trust ~= 'more' or mark == 'r' then return known, false end
  local base = tonumber(string.match(mark, '^b(%d+)$'))
  -- What was told since comes on top of what was remembered.
  if base then floor = known + math.max(0, floor - base) end
  return math.max(known, floor), floor > known
end

local function rate(key, at)
  local interval, burst = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local since, early, mark = read(key)
  -- A clock that went back must not make anybody wait for it.
  if since then early = math.max(0, early - math.max(0, now - since) * 1000) end
  local value, changed = joined(early, mark, tonumber(ARGV[at + 4]), ARGV[at + 5])
  -- Nobody owes more than a whole burst: who did by another rule is helped at once when that is raised.
  if value > interval * burst then value, changed = interval * burst, true end
  return {
    enforced = ARGV[at + 1] == 'enforced', admits = value <= interval * (burst - 1), changed = changed,
    value = value, after = value + interval, began = 0, ends = 0,
    keep = function(early)
      local life = early
      if mark == 'r' then life = math.max(life, interval * burst) end
      write(key, now, early, mark, math.ceil(life / 1000000) + 10000)
    end,
  }
end

local function quota(key, at)
  local amount, reserve = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local began, ends = stretch(now, at + 7)
  local since, used, mark = read(key)
  if since and since < began then since, used, mark = nil, nil, '' end
  local floor = tonumber(ARGV[at + 4])
  if tonumber(ARGV[at + 6]) ~= began then floor = 0 end
  local value, changed = joined(used, mark, floor, ARGV[at + 5])
  if mark ~= 'r' then mark = '' end
  return {
    enforced = ARGV[at + 1] == 'enforced', admits = value < amount, changed = changed,
    value = value, after = math.min(value + reserve, MOST), began = began, ends = ends,
    keep = function(used)
      write(key, began, used, mark, math.max(ends + 86400 - math.floor(now / 1000000), 86400) * 1000)
    end,
  }
end

local asks, refused, at = {}, false, 4
for i = 1, #KEYS do
  if ARGV[at] == 'rate' then
    asks[i], at = rate(KEYS[i], at), at + 6
  else
    asks[i], at = quota(KEYS[i], at), at + 11
  end
  refused = refused or (asks[i].enforced and not asks[i].admits)
end

local reply = {now, refused and 0 or 1}
for _, ask in ipairs(asks) do
  local takes = spends and not refused and ask.admits
  if takes then ask.value = ask.after end
  if takes or (spends and ask.changed) then ask.keep(ask.value) end
  reply[#reply + 1] = ask.value
  reply[#reply + 1] = takes and 1 or 0
  reply[#reply + 1] = ask.began
  reply[#reply + 1] = ask.ends
end
return reply
