-- A gateway says that it lives, and learns how many do.
--
-- KEYS: the gateways. ARGV: this one; how long one lives that says nothing, in milliseconds.
-- Out: the time, in microseconds since 1970, and how many live.

local now = time(0)
local life = tonumber(ARGV[2])
local millis = math.floor(now / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', millis), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', millis - life))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life * 12))
return {now, redis.call('ZCARD', KEYS[1])}
