-- Settles who may run, over all replicas and in one step: two who ask at once can't both be given the last slot.
-- who_may_start in slots.py is the same rule without Redis.
--
-- KEYS: holders (zset id -> expiry), waiters (zset id -> place), alive (zset id -> expiry), models (hash id -> model), next
-- ARGV: limits, waiting, holding, released as JSON; lease and waiting lease in milliseconds
local holders, waiters, alive, models, place = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local limits, waiting, holding, released =
    cjson.decode(ARGV[1]), cjson.decode(ARGV[2]), cjson.decode(ARGV[3]), cjson.decode(ARGV[4])
-- Redis's own clock, since those of the replicas may differ.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function forget(id)
    redis.call('ZREM', holders, id)
    redis.call('ZREM', waiters, id)
    redis.call('ZREM', alive, id)
    redis.call('HDEL', models, id)
end

for _, id in ipairs(released) do forget(id) end
-- What a replica does not renew is free again: it is gone.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', holders, '-inf', now)) do forget(id) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', alive, '-inf', now)) do forget(id) end
for _, run in ipairs(holding) do
    redis.call('ZADD', holders, now + ARGV[5], run[1])
    redis.call('HSET', models, run[1], run[2])
end
local mine, new, granted = {}, {}, {}
for _, run in ipairs(waiting) do
    if redis.call('ZSCORE', holders, run[1]) then
        -- Granted before, in an answer that never came.
        redis.call('ZADD', holders, now + ARGV[5], run[1])
        granted[#granted + 1] = run[1]
    else
        mine[run[1]] = true
        if not redis.call('ZSCORE', waiters, run[1]) then
            redis.call('ZADD', waiters, redis.call('INCR', place), run[1])
            redis.call('HSET', models, run[1], run[2])
            new[run[1]] = true
        end
        redis.call('ZADD', alive, now + ARGV[6], run[1])
    end
end

local used, count = {}, 0
for _, id in ipairs(redis.call('ZRANGE', holders, 0, -1)) do
    local model = redis.call('HGET', models, id) or ''
    used[model] = (used[model] or 0) + 1
    count = count + 1
end
local free = limits.total - count
for _, id in ipairs(redis.call('ZRANGE', waiters, 0, -1)) do
    if free <= 0 then break end
    local model = redis.call('HGET', models, id) or ''
    if (used[model] or 0) < (limits.models[model] or limits.total) then
        -- A run of another replica is left its slot: that replica asks within moments, or its place lapses.
        used[model] = (used[model] or 0) + 1
        free = free - 1
        if mine[id] then
            redis.call('ZREM', waiters, id)
            redis.call('ZREM', alive, id)
            redis.call('ZADD', holders, now + ARGV[5], id)
            granted[#granted + 1] = id
        end
    end
end
-- Only who has just come is refused: a place that was given is kept.
local refused = {}
for rank, id in ipairs(redis.call('ZRANGE', waiters, 0, -1)) do
    if rank > limits.queue and new[id] then refused[#refused + 1] = id end
end
for _, id in ipairs(refused) do forget(id) end

local running = {}
for _, id in ipairs(redis.call('ZRANGE', holders, 0, -1)) do
    running[#running + 1] = redis.call('HGET', models, id) or ''
end
-- Nothing stays of a stack whose replicas are all gone.
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 3600000) end
return {granted, refused, running, redis.call('ZCARD', waiters)}
