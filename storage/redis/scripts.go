package redis

import (
	"crypto/sha1" // the name by which Redis knows a script, not a protection
	"encoding/hex"
)

// Codes that begin every reply.
const (
	codeDone     = 0
	codeConflict = 1
	codeCheck    = 2 // not the server or the store that was checked; nothing was done
	codeRefused  = 3 // a key holds what this engine never wrote; nothing was done
)

// script is one Lua program. A script that may write is refused by the server before it begins when memory is full
// ("deny-oom"), when the disk fails or when replicas are missing, and is replicated and logged as one transaction. One
// that may not is served in all these states.
type script struct{ text, sha string }

func newScript(flags, body string) *script {
	text := "#!lua" + flags + "\n" + body
	sum := sha1.Sum([]byte(text))
	return &script{text: text, sha: hex.EncodeToString(sum[:])}
}

const readOnly = " flags=no-writes"

// guard compares the store's epoch (KEYS[1], ARGV[1]) and the server's replication history (ARGV[2]). A replica has the
// history of its primary, so the role is compared as well: a connection may outlive a demotion.
const guard = `
local info = redis.call('INFO', 'replication')
if redis.call('GET', KEYS[1]) ~= ARGV[1] or not string.find(info, ARGV[2], 1, true)
  or not string.find(info, 'role:master', 1, true) then
  return {2}
end
`

// reading answers {0, doubt, ...}: KEYS[2] is the doubt.
const reading = guard + `
local reply = {0, redis.call('EXISTS', KEYS[2])}
`

// values appends the records KEYS[from] and following to the reply, in portions that Lua's stack holds.
const values = `
for at = from, #KEYS, 1000 do
  for _, value in ipairs(redis.call('MGET', unpack(KEYS, at, math.min(at + 999, #KEYS)))) do
    reply[#reply + 1] = value
  end
end
return reply
`

// bounds turns the range ARGV[3], ARGV[4] ("-" and "+", or "(" and "[" with a member) of KEYS[3] into ranks lo <= rank < hi.
// All members have score 0, so the rank of a member is the number of members in front of it, in O(log n).
const bounds = `
local lo, hi = 0, 0
if ARGV[3] ~= '-' then lo = redis.call('ZLEXCOUNT', KEYS[3], '-', ARGV[3]) end
if ARGV[4] ~= '+' then hi = redis.call('ZLEXCOUNT', KEYS[3], '-', ARGV[4]) else hi = redis.call('ZCARD', KEYS[3]) end
`

var (
	scriptProbe = newScript("", guard+"return {0}")

	// KEYS: epoch, doubt, records
	scriptGet = newScript(readOnly, reading+"local from = 3"+values)

	// KEYS: epoch, doubt, index. ARGV: epoch, history, from, to, offset, limit, reverse, after
	scriptScan = newScript(readOnly, reading+bounds+`
local offset, limit = tonumber(ARGV[5]), tonumber(ARGV[6])
local reverse, after = ARGV[7] == '1', ARGV[8]
if after ~= '' then
  local rank = redis.call('ZLEXCOUNT', KEYS[3], '-', after)
  if reverse then hi = math.min(hi, rank) else lo = math.max(lo, rank) end
end
if reverse then
  hi = hi - offset
  lo = math.max(lo, hi - limit)
else
  lo = lo + offset
  hi = math.min(hi, lo + limit)
end
if lo < hi then
  local page = redis.call('ZRANGE', KEYS[3], lo, hi - 1)
  if reverse then
    for at = #page, 1, -1 do reply[#reply + 1] = page[at] end
  else
    for at = 1, #page do reply[#reply + 1] = page[at] end
  end
end
return reply`)

	// KEYS: epoch, doubt, index. ARGV: epoch, history, from, to
	scriptCount = newScript(readOnly, reading+bounds+`
reply[3] = math.max(hi - lo, 0)
return reply`)

	// KEYS: epoch, commits, then the keys of conditions, puts, deletes and indexes. ARGV: epoch, history, the number of each
	// of these and of removes and adds; conditions (what is wanted, version), puts (version with value, expiry), removes
	// and adds (position of the index among the indexes, member).
	//
	// Everything that could fail is tried before the first write, so that no error leaves half a batch.
	scriptCommit = newScript("", guard+`
local conditions, puts, deletes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local indexes, removes, adds = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local key, arg = 2, 8
for at = 1, conditions do
  local want, version = ARGV[arg + 1], redis.call('GETRANGE', KEYS[key + at], 0, 15)
  if (want == 'a' and version ~= '') or (want == 'p' and version == '')
    or (want == 'e' and (version == '' or version ~= ARGV[arg + 2])) then
    return {1}
  end
  arg = arg + 2
end
key = key + conditions
local first = key + puts + deletes
for at = first + 1, first + indexes do
  local found = redis.call('TYPE', KEYS[at]).ok
  if found ~= 'none' and found ~= 'zset' then return {3, KEYS[at] .. ' is of type ' .. found} end
end
local function denied(what, ...) return what > 0 and not redis.acl_check_cmd(...) end
if denied(puts, 'SET', KEYS[1], '') or denied(deletes, 'DEL', KEYS[1]) or denied(removes, 'ZREM', KEYS[1], '')
  or denied(adds, 'ZADD', KEYS[1], '0', '') then
  return redis.error_reply('NOPERM this user may not run SET, DEL, ZREM or ZADD')
end
local count = redis.pcall('INCR', KEYS[2])
if type(count) == 'table' then return count end
for at = 1, puts do
  if ARGV[arg + 2] == '' then
    redis.call('SET', KEYS[key + at], ARGV[arg + 1])
  else
    redis.call('SET', KEYS[key + at], ARGV[arg + 1], 'PXAT', ARGV[arg + 2])
  end
  arg = arg + 2
end
key = key + puts
for at = 1, deletes do redis.call('DEL', KEYS[key + at]) end
for at = 1, removes do
  redis.call('ZREM', KEYS[first + tonumber(ARGV[arg + 1])], ARGV[arg + 2])
  arg = arg + 2
end
for at = 1, adds do
  redis.call('ZADD', KEYS[first + tonumber(ARGV[arg + 1])], 0, ARGV[arg + 2])
  arg = arg + 2
end
return {0, count}`)

	// KEYS: epoch, doubt, history, token, limits, records. ARGV: epoch, history, the token's making and end (µs; an empty end
	// is no token) and end (ms), the number of limits; burst and cost (µs) of each limit.
	//
	// A mark is worth nothing beyond the server's history, so it is neither logged nor replicated; a limit is replicated, so
	// that a failover keeps it, but not logged. So spending waits for no disk.
	scriptSpend = newScript("", reading+`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local fresh, limited, wait = 1, -1, 0
redis.set_repl(redis.REPL_NONE)
if ARGV[4] ~= '' then
  local since = tonumber(string.match(redis.call('GET', KEYS[3]) or '', ':(%d+)$'))
  if not since or tonumber(ARGV[3]) <= since or tonumber(ARGV[4]) <= now
    or not redis.call('SET', KEYS[4], '', 'NX', 'PXAT', ARGV[5]) then
    fresh = 0
  end
end
local limits = tonumber(ARGV[6])
if fresh == 1 and limits > 0 then
  local moved = {}
  for at = 1, limits do
    local rest = tonumber(redis.call('GET', KEYS[4 + at]) or 0)
    moved[at] = math.max(rest, now) + ARGV[6 + 2 * at]
    local excess = moved[at] - now - ARGV[5 + 2 * at]
    if excess > wait then limited, wait = at - 1, excess end
  end
  if limited < 0 then
    redis.set_repl(redis.REPL_REPLICA)
    for at = 1, limits do
      if moved[at] > now then
        redis.call('SET', KEYS[4 + at], string.format('%.0f', moved[at]),
          'PXAT', string.format('%.0f', math.ceil(moved[at] / 1000)))
      end
    end
  end
end
reply[3], reply[4], reply[5] = fresh, limited, wait
local from = 5 + limits`+values)

	// KEYS: epoch, sequence. ARGV: epoch, history, how many. The number is read back as text: Lua's numbers are exact to 2^53.
	scriptNext = newScript("", guard+`
local last = redis.pcall('INCRBY', KEYS[2], ARGV[3])
if type(last) == 'table' then return {3, last.err} end
return {0, redis.call('GET', KEYS[2])}`)

	// KEYS: epoch, sequence. ARGV: epoch, history, number above zero. Numbers are compared as digits, for the same reason.
	scriptLift = newScript("", guard+`
local last = redis.call('GET', KEYS[2]) or '0'
if #last < #ARGV[3] or #last == #ARGV[3] and last < ARGV[3] then redis.call('SET', KEYS[2], ARGV[3]) end
return {0}`)

	// KEYS: epoch, doubt, barrier, commits. Answers the doubt that stood, and the commits there were, when the barrier was
	// written.
	scriptBarrier = newScript("", guard+`
redis.call('INCR', KEYS[3])
return {0, redis.call('GET', KEYS[2]) or '', tonumber(redis.call('GET', KEYS[4]) or 0)}`)

	// KEYS: epoch, doubt. ARGV: epoch, history, doubt to set or '', doubt to end if it is still the same
	scriptDoubt = newScript("", guard+`
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[2], ARGV[3])
elseif redis.call('GET', KEYS[2]) == ARGV[4] then
  redis.call('DEL', KEYS[2])
end
return {0}`)

	// scriptEnroll is the one without the guard: it makes what the guard compares.
	//
	// KEYS: epoch, history, commits, forks. ARGV: replication id of the server that was checked, epoch that is known or '',
	// epoch to install if there is none, clock skew (µs). Answers {0, epoch, commits, forks...}, {2} if this is another
	// server, or {1, epoch found or ''} if the store is not the known one.
	scriptEnroll = newScript("", `
local info = redis.call('INFO', 'replication')
if not string.find(info, 'master_replid:' .. ARGV[1], 1, true) or not string.find(info, 'role:master', 1, true) then
  return {2}
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local epoch = redis.call('GET', KEYS[1])
if ARGV[2] ~= '' and epoch ~= ARGV[2] then return {1, epoch or ''} end
local history = redis.call('GET', KEYS[2])
if not epoch then
  epoch = ARGV[3]
  redis.call('SET', KEYS[1], epoch)
  redis.call('DEL', KEYS[2], KEYS[4])
  history = false
end
local commits = redis.call('GET', KEYS[3]) or '0'
local old = history and string.match(history, '^%x+') or ''
if old ~= ARGV[1] then
  if old ~= '' then
    now = now + tonumber(ARGV[4])
    redis.call('LPUSH', KEYS[4], old .. ' ' .. ARGV[1] .. ' ' .. commits)
    redis.call('LTRIM', KEYS[4], 0, 99)
  end
  redis.call('SET', KEYS[2], ARGV[1] .. ':' .. string.format('%.0f', now))
end
local reply = {0, epoch, commits}
for _, fork in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do reply[#reply + 1] = fork end
return reply`)

	scripts = []*script{
		scriptProbe, scriptGet, scriptScan, scriptCount, scriptCommit, scriptSpend, scriptNext, scriptLift,
		scriptBarrier, scriptDoubt, scriptEnroll,
	}
)
