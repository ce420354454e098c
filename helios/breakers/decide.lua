-- One decision about one circuit, taken atomically: the state machine of core.py inside Redis.
-- KEYS[1] the circuit (hash), KEYS[2] the number of configuration changes so far.
-- ARGV: operation, generation, token, outcome, successes, enforce,
--       failure_threshold, minimum_calls, window_calls, open_s, half_open_permits, permit_s, reason
local operation, token, outcome, reason = ARGV[1], ARGV[3], ARGV[4], ARGV[13]
local sender, successes, enforce = tonumber(ARGV[2]), tonumber(ARGV[5]), ARGV[6] == '1'
local threshold, minimum_calls, window_calls = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local open_s, half_open_permits, permit_s = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])

local now = clock()
local stored = redis.call('HMGET', KEYS[1], 'state', 'generation', 'window', 'open_until', 'passed', 'permits')
local state = stored[1] or 'CLOSED'
-- A circuit that Redis forgot starts at the time in milliseconds, above every number it had before.
local generation = tonumber(stored[2]) or math.floor(now * 1000)
local window, open_until = stored[3] or '', tonumber(stored[4]) or 0
local passed, permits = tonumber(stored[5]) or 0, {}
local before, why, changed = '', '', not stored[1]
local granted, held, retry_after = '0', '', 0

for name, expiry in string.gmatch(stored[6] or '', '([^:,]+):([^,]+)') do
    if tonumber(expiry) > now then table.insert(permits, {name, tonumber(expiry)}) end
end

local function move(to, cause)
    before, why, changed = state, cause, true
    state, generation = to, generation + 1
    window, open_until, passed, permits = '', 0, 0, {}
    if to == 'OPEN' then open_until = now + open_s end
end

local function append(outcomes)
    window, changed = string.sub(window .. outcomes, -window_calls), true
end

local function share()
    if successes > 0 and state == 'CLOSED' and sender == generation then
        append(string.rep('S', math.min(successes, window_calls)))
    end
end

local function acquire()
    share()
    if state == 'CLOSED' or not enforce then granted = '1' return end
    if state == 'OPEN' then
        if now < open_until then retry_after = open_until - now return end
        move('HALF_OPEN', 'the open interval is over')
    end
    if #permits >= math.max(1, half_open_permits - passed) then
        retry_after = permits[1][2] - now
        for _, permit in ipairs(permits) do retry_after = math.min(retry_after, permit[2] - now) end
        return
    end
    table.insert(permits, {token, now + permit_s})
    granted, held, changed = '1', token, true
end

local function record_closed()
    share()
    if outcome == 'IGNORED' then return end
    append(string.sub(outcome, 1, 1))
    local _, failures = string.gsub(window, 'F', '')
    if outcome == 'FAILURE' and enforce and #window >= minimum_calls and failures >= threshold then
        move('OPEN', failures .. ' of the last ' .. #window .. ' calls failed')
    end
end

local function record_probe()
    for index, permit in ipairs(permits) do
        if permit[1] == token then
            if outcome == 'FAILURE' then move('OPEN', 'a probe failed') return end
            table.remove(permits, index)
            changed = true
            if outcome == 'SUCCESS' then passed = passed + 1 end
            if passed >= half_open_permits then
                move('CLOSED', passed .. ' of ' .. passed .. ' probes succeeded')
            end
            return
        end
    end
end

if operation == 'acquire' then
    acquire()
elseif operation == 'record' then
    if sender == generation then
        if state == 'CLOSED' then record_closed() elseif state == 'HALF_OPEN' then record_probe() end
    end
elseif operation == 'close' then
    move('CLOSED', reason)
end

if changed and operation ~= 'peek' then
    local packed = {}
    for _, permit in ipairs(permits) do table.insert(packed, string.format('%s:%.6f', permit[1], permit[2])) end
    redis.call('HSET', KEYS[1], 'state', state, 'generation', string.format('%.0f', generation), 'window', window,
        'open_until', string.format('%.6f', open_until), 'passed', passed, 'permits', table.concat(packed, ','))
end
return {granted, held, state, string.format('%.0f', generation), window, string.format('%.6f', open_until - now),
    string.format('%.6f', retry_after), before, why, redis.call('GET', KEYS[2]) or '0', string.format('%.6f', now),
    tostring(#permits)}
