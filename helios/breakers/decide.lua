-- One decision about one circuit, taken atomically: the state machine of core/machine.py inside Redis.
-- KEYS[1] the circuit (hash), KEYS[2] the number of configuration changes so far.
-- ARGV: operation, generation, token, outcome, unshared, enforce, chance, reason, then the settings as below.
local operation, token, outcome, unshared, reason = ARGV[1], ARGV[3], ARGV[4], ARGV[5], ARGV[8]
local sender, enforce, chance = tonumber(ARGV[2]), ARGV[6] == '1', tonumber(ARGV[7])
local threshold, failure_rate, slow_call_rate = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local minimum_calls, window_calls, window_ms = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14]) * 1000
local open_s, open_multiplier, open_max_s = tonumber(ARGV[15]), tonumber(ARGV[16]), tonumber(ARGV[17])
local open_jitter, half_open_permits, permit_s = tonumber(ARGV[18]), tonumber(ARGV[19]), tonumber(ARGV[20])
local slots, max_openings, shortest_s, longest = 60, 60, 0.001, 1048576

local now = clock()
local now_ms = math.floor(now * 1000)
local slot_ms = math.max(1, math.floor(window_ms / slots))
local stored = redis.call('HMGET', KEYS[1], 'state', 'generation', 'born', 'runs', 'open_until', 'openings',
    'closed_at', 'passed', 'permits')
for place = 1, 9 do
    if stored[place] and #stored[place] > longest then
        return redis.error_reply('UNREADABLE a value of ' .. #stored[place] .. ' bytes')
    end
end
local state = stored[1] or 'CLOSED'
-- A circuit that Redis forgot begins at the time in milliseconds, above every number it had before.
local generation = tonumber(stored[2]) or now_ms
local born = tonumber(stored[3]) or (stored[1] and 0 or now_ms)
local open_until, openings = tonumber(stored[5]) or 0, tonumber(stored[6]) or 0
local closed_at, passed = tonumber(stored[7]) or 0, tonumber(stored[8]) or 0
local runs, permits, calls, failures, slow = {}, {}, 0, 0, 0
local before, why, changed = '', '', not stored[1]
local granted, held, retry_after = '0', '', 0

local function alive(at)
    return window_ms == 0 or (at > now_ms - window_ms and at <= now_ms)
end

local function tally(letter, number)
    calls = calls + number
    if letter == 'F' or letter == 'f' then failures = failures + number end
    if letter == 's' or letter == 'f' then slow = slow + number end
end

for at, letter, number in string.gmatch(stored[4] or '', '(-?%d+)(%a)(%d+)') do
    local run = {tonumber(at), letter, tonumber(number)}
    if alive(run[1]) then
        table.insert(runs, run)
        tally(letter, run[3])
    end
end
for name, expiry in string.gmatch(stored[9] or '', '([^:,]+):([^,]+)') do
    if tonumber(expiry) > now then table.insert(permits, {name, tonumber(expiry)}) end
    if tonumber(expiry) > now + permit_s then permits[#permits][2], changed = now + permit_s, true end
end

local function move(to, cause)
    before, why, changed = state, cause, true
    state, generation = to, generation + 1
    runs, permits, calls, failures, slow = {}, {}, 0, 0, 0
    open_until, closed_at, passed = 0, 0, 0
end

local function interval(nth, dice)
    local bare = open_s * open_multiplier ^ (nth - 1)
    if open_max_s > 0 then bare = math.min(bare, open_max_s) end
    local spread = bare * (1 + open_jitter * (2 * dice - 1))
    if open_max_s > 0 then spread = math.min(spread, open_max_s) end
    return math.max(shortest_s, spread)
end

-- Whatever clock it was opened by: it may have been set back.
local latest = now + interval(math.max(1, openings), 1)
if open_until > latest then open_until, changed = latest, true end
if closed_at > now then closed_at, changed = now, true end

local function open(cause)
    if state == 'CLOSED' and openings > 0 and now - closed_at >= interval(openings, 0.5) then openings = 0 end
    openings = math.min(openings + 1, max_openings)
    move('OPEN', cause)
    open_until = now + interval(openings, chance)
end

local function slot(age_ms)
    return window_ms > 0 and math.floor((now_ms - age_ms) / slot_ms) * slot_ms or 0
end

local function add(letter, number, at)
    local same, first = nil, window_calls > 0 and #runs or 1
    for place = #runs, math.max(1, first), -1 do
        if runs[place][1] == at and runs[place][2] == letter then same = runs[place] break end
    end
    if same then same[3] = same[3] + number else table.insert(runs, {at, letter, number}) end
    tally(letter, number)
    while window_calls > 0 and calls > window_calls do
        local excess = math.min(calls - window_calls, runs[1][3])
        tally(runs[1][2], -excess)
        runs[1][3] = runs[1][3] - excess
        if runs[1][3] == 0 then table.remove(runs, 1) end
    end
end

local function exceeded()
    if calls < minimum_calls then return nil end
    if (threshold > 0 and failures >= threshold) or (failure_rate > 0 and failures / calls >= failure_rate) then
        return failures .. ' of the last ' .. calls .. ' calls failed'
    end
    if slow_call_rate > 0 and slow / calls >= slow_call_rate then
        return slow .. ' of the last ' .. calls .. ' calls were slow'
    end
    return nil
end

local function count(letter, number, age_ms)
    local at = slot(age_ms)
    if number < 1 or not alive(at) then return end
    local first = math.min(number, math.max(1, minimum_calls - calls))
    changed = true
    for _, part in ipairs({first, number - first}) do
        if part > 0 then add(letter, part, at) end
        local limit = state == 'CLOSED' and exceeded()
        if limit then open(limit) return end
    end
end

local function counts()
    return (sender < born or sender >= generation) and (state == 'CLOSED' or not enforce)
end

local function share()
    if not counts() then return end
    for age_ms, letter, number in string.gmatch(unshared, '(-?%d+)(%a)(%d+)') do
        count(letter, tonumber(number), tonumber(age_ms))
        if before ~= '' then return end
    end
end

local function probe()
    if state == 'OPEN' then move('HALF_OPEN', 'the open interval is over') end
    if #permits >= math.max(1, half_open_permits - passed) then
        retry_after = permits[1][2] - now
        for _, permit in ipairs(permits) do retry_after = math.min(retry_after, permit[2] - now) end
        return
    end
    table.insert(permits, {token, now + permit_s})
    granted, held, changed = '1', token, true
end

local function acquire()
    share()
    if state == 'CLOSED' then granted = '1' return end
    if state == 'OPEN' and now < open_until then retry_after = open_until - now else probe() end
    if granted == '0' and not enforce then granted, retry_after = '1', 0 end
end

local function record_probe()
    for index, permit in ipairs(permits) do
        if sender == generation and permit[1] == token then
            local failed = outcome == 'F' or outcome == 'f'
            if failed or (slow_call_rate > 0 and outcome == 's') then
                open(failed and 'a probe failed' or 'a probe was slow')
                return
            end
            table.remove(permits, index)
            changed = true
            if outcome ~= '-' then passed = passed + 1 end
            if passed >= half_open_permits then
                move('CLOSED', passed .. ' of ' .. passed .. ' probes succeeded')
                closed_at = now
            end
            return
        end
    end
end

local function record()
    share()
    if before ~= '' then return end
    if state == 'HALF_OPEN' and token ~= '' then
        record_probe()
    elseif outcome ~= '-' and counts() then
        count(outcome, 1, 0)
    end
end

if operation == 'acquire' then
    acquire()
elseif operation == 'record' then
    record()
elseif operation == 'share' then
    share()
elseif operation == 'close' then
    openings = 0
    move('CLOSED', reason)
end

local window = {}
for _, run in ipairs(runs) do table.insert(window, string.format('%.0f%s%.0f', run[1], run[2], run[3])) end
window = table.concat(window, ',')
if changed and operation ~= 'peek' then
    local packed = {}
    for _, permit in ipairs(permits) do table.insert(packed, string.format('%s:%.6f', permit[1], permit[2])) end
    redis.call('HSET', KEYS[1], 'state', state, 'generation', string.format('%.0f', generation),
        'born', string.format('%.0f', born), 'runs', window, 'open_until', string.format('%.6f', open_until),
        'openings', openings, 'closed_at', string.format('%.6f', closed_at), 'passed', passed,
        'permits', table.concat(packed, ','))
end
return {granted, held, state, string.format('%.0f', generation), string.format('%.0f', born), window,
    string.format('%.6f', open_until - now), tostring(openings), string.format('%.6f', closed_at),
    string.format('%.6f', retry_after), before, why, redis.call('GETRANGE', KEYS[2], 0, 20), string.format('%.6f', now),
    tostring(#permits)}
