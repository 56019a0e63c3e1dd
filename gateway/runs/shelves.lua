-- Makes room for an entry among those of its kind and caller, and counts it; returns how many were forgotten for it.
--
-- KEYS: expiries (zset key -> epoch ms), sizes (hash key -> bytes; '' -> all of them), the entry's key
-- ARGV: the entry's size, how long it lasts in ms, the bytes of all together
local expiries, sizes, key = KEYS[1], KEYS[2], KEYS[3]
local size, lasting, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- Redis's own clock, since those of the replicas may differ.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- An entry that is written again takes the place of what it was.
local found = redis.call('HMGET', sizes, '', key)
local used, forgotten = tonumber(found[1] or '0') - tonumber(found[2] or '0'), 0

-- All entries of a kind last equally long, so what lapses first was written first.
local oldest = redis.call('ZRANGE', expiries, 0, 0, 'WITHSCORES')
while oldest[1] and (tonumber(oldest[2]) <= now or used + size > most) do
    redis.call('ZREM', expiries, oldest[1])
    if oldest[1] ~= key then
        used = used - tonumber(redis.call('HGET', sizes, oldest[1]) or '0')
        redis.call('HDEL', sizes, oldest[1])
        redis.call('UNLINK', oldest[1])
        -- One that has lapsed by itself was not forgotten for anybody.
        if tonumber(oldest[2]) > now then forgotten = forgotten + 1 end
    end
    oldest = redis.call('ZRANGE', expiries, 0, 0, 'WITHSCORES')
end
redis.call('ZADD', expiries, now + lasting, key)
redis.call('HSET', sizes, key, size, '', used + size)
-- The count has to outlast what it counts.
if redis.call('PTTL', sizes) < lasting then
    redis.call('PEXPIRE', expiries, lasting + 60000)
    redis.call('PEXPIRE', sizes, lasting + 60000)
end
return forgotten
