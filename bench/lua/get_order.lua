-- One of the signed-in customer's orders, at random.
local all = dofile("bench/lua/all.lua")
local requests

function init(args)
  local data = all.read(args)
  local headers = all.headers(data.tokens[1])
  requests = all.prepared(#data.orders, function(n)
    return wrk.format("GET", "/api/v1/orders/" .. data.orders[n], headers)
  end)
end

function request() return all.any(requests) end
