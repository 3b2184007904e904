//! The scripts that Redis runs, each of them atomic.

use ::redis::Script;

pub(super) struct Scripts {
    /// In: for how long Redis keeps it, then fields and values. 1, or 0 where there is one.
    pub(super) create: Script,
    /// In: the known version, the time, whether this is an access, for how long Redis keeps
    /// what is over. Nothing, or one of: `u` and the access, `r` and the fields, `x` and the
    /// fields, `m` and what there is of one that moved.
    pub(super) open: Script,
    /// In: the expected version or -1, whether to clear, the greatest size, for how long
    /// Redis keeps what is over, whether the times change, how many fields are set and how
    /// many removed; these. The version, a negative number, or where the session moved to.
    pub(super) apply: Script,
    /// In: where to, the seal, when, until when it finds the session and until when it is kept. 1,
    /// or 0 where there is no session.
    pub(super) rename: Script,
    /// 1, 0 where there is no session, or where it moved to.
    pub(super) remove: Script,
}

impl Scripts {
    pub(super) fn new() -> Scripts {
        let with_times = |script: &str| Script::new(&format!("{TIMES}{script}"));
        Scripts {
            create: Script::new(CREATE),
            open: with_times(OPEN),
            apply: with_times(APPLY),
            rename: Script::new(RENAME),
            remove: Script::new(REMOVE),
        }
    }
}

/// When a session is over, and telling Redis so. Times are milliseconds, which a Lua number
/// holds exactly; written as text they must not get an exponent.
const TIMES: &str = "
local function over_at(accessed, timeout, ends)
    local at = tonumber(ends)
    if tonumber(timeout) >= 0 then
        local idle = tonumber(accessed) + tonumber(timeout)
        if at < 0 or idle < at then at = idle end
    end
    return at
end
local function keep_until(key, at, now, linger)
    if at < 0 then
        redis.call('PERSIST', key)
    else
        redis.call('PEXPIRE', key, string.format('%.0f', math.min(math.max(at - now, 0) + linger, 1e14)))
    end
end
";

const CREATE: &str = "
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
if tonumber(ARGV[1]) >= 0 then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.min(tonumber(ARGV[1]), 1e14)))
end
return 1
";

const OPEN: &str = "
local has = redis.pcall('HMGET', KEYS[1], 'v', 'a', 't', 'e', 'm')
if has.err then return {} end
if has[5] then return {'m', redis.call('HMGET', KEYS[1], 'm', 's', 'd', 'u', 'f')} end
for i = 1, 4 do
    if not tonumber(has[i]) then return {} end
end
local now = tonumber(ARGV[2])
local at = over_at(has[2], has[3], has[4])
if at >= 0 and now >= at then
    local all = redis.call('HGETALL', KEYS[1])
    redis.call('DEL', KEYS[1])
    return {'x', all}
end
if ARGV[3] == '1' then
    has[2] = ARGV[2]
    redis.call('HSET', KEYS[1], 'a', ARGV[2])
    keep_until(KEYS[1], over_at(has[2], has[3], has[4]), now, tonumber(ARGV[4]))
end
if tonumber(has[1]) ~= tonumber(ARGV[1]) then return {'r', redis.call('HGETALL', KEYS[1])} end
return {'u', has[2]}
";

const APPLY: &str = "
local has = redis.call('HMGET', KEYS[1], 'v', 'z', 'm')
if has[3] then return has[3] end
if not has[1] then return -1 end
if tonumber(ARGV[1]) >= 0 and tonumber(ARGV[1]) ~= tonumber(has[1]) then return -2 end
local set, removed = tonumber(ARGV[6]), tonumber(ARGV[7])
local first_removed = 8 + 2 * set
local cleared = ARGV[2] == '1'
local size = cleared and 0 or tonumber(has[2] or '0')
local function forget(field)
    if not cleared and redis.call('HEXISTS', KEYS[1], field) == 1 then
        size = size - (#field - 1) - redis.call('HSTRLEN', KEYS[1], field)
    end
end
for i = 8, first_removed - 1, 2 do
    if string.sub(ARGV[i], 1, 1) == '=' then
        forget(ARGV[i])
        size = size + #ARGV[i] - 1 + #ARGV[i + 1]
    end
end
for i = first_removed, first_removed + removed - 1 do
    if string.sub(ARGV[i], 1, 1) == '=' then forget(ARGV[i]) end
end
if size > tonumber(ARGV[3]) then return -3 end
if cleared then
    for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
        if string.sub(field, 1, 1) == '=' then redis.call('HDEL', KEYS[1], field) end
    end
end
for i = 8, first_removed - 1, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = first_removed, first_removed + removed - 1 do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('HSET', KEYS[1], 'z', string.format('%.0f', size))
if ARGV[5] == '1' then
    local times = redis.call('HMGET', KEYS[1], 'a', 't', 'e')
    local accessed = tonumber(times[1])
    keep_until(KEYS[1], over_at(times[1], times[2], times[3]), accessed, tonumber(ARGV[4]))
end
return redis.call('HINCRBY', KEYS[1], 'v', 1)
";

const RENAME: &str = "
local has = redis.call('HMGET', KEYS[1], 'v', 'm')
if has[2] or not has[1] or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'm', ARGV[1], 's', ARGV[2], 'd', ARGV[3], 'u', ARGV[4], 'f', ARGV[5])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.min(tonumber(ARGV[5]) - tonumber(ARGV[3]), 1e14)))
return 1
";

const REMOVE: &str = "
local moved = redis.call('HGET', KEYS[1], 'm')
if moved then return moved end
return redis.call('DEL', KEYS[1])
";
