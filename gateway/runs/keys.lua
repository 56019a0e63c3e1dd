-- Writes a key's value unless it is another's by now, which a GET and a SET apart could not tell.
--
-- KEYS: the key. ARGV: owner, the rest of its value ('' to forget it), how long it lasts in ms. Returns 0 when another's.
-- A value begins with its owner.
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
end
return 1
