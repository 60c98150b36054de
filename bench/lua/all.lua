-- Code shared by all scenarios' scripts. `bench.load` passes the data as a file that returns a table.
local all = {}

-- Ends in `done`, which runs in another Lua state and sees globals only by `thread:get`.
local threads = {}
function setup(thread) table.insert(threads, thread) end

function all.read(args)
  math.randomseed(tonumber(args[2]))
  return dofile(args[1])
end

function all.headers(token)
  return { ["Authorization"] = "Bearer " .. token, ["Content-Type"] = "application/json" }
end

function all.any(list) return list[math.random(#list)] end

-- An order of two different products, by any customer.
function all.new_order(data)
  local first = math.random(#data.products)
  local second = first % #data.products + 1
  local body = string.format(
    '{"items":[{"product_id":"%s","quantity":1},{"product_id":"%s","quantity":2}]}',
    data.products[first], data.products[second])
  return wrk.format("POST", "/api/v1/orders", all.headers(all.any(data.tokens)), body)
end

-- Requests are formatted beforehand, so that wrk has less work while it measures.
function all.prepared(count, make)
  local requests = {}
  for n = 1, count do requests[n] = make(n) end
  return requests
end

statuses = {}
function all.count(status)
  local key = tostring(status)
  statuses[key] = (statuses[key] or 0) + 1
end

local function object(counts)
  local fields = {}
  for key, value in pairs(counts) do
    table.insert(fields, string.format('"%s":%d', key, value))
  end
  return "{" .. table.concat(fields, ",") .. "}"
end

-- One line for `bench.load`; wrk's times are microseconds.
function done(summary, latency, requests)
  local counted = threads[1]:get("statuses") or {}
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"refused":%d,'
    .. '"statuses":%s,"socket_errors":%s}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, summary.errors.status,
    object(counted), object({
      connect = summary.errors.connect, read = summary.errors.read,
      write = summary.errors.write, timeout = summary.errors.timeout,
    })))
end

return all
