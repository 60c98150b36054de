-- Every request is another buyer of one piece of the same product.
local all = dofile("bench/lua/all.lua")
local requests

function init(args)
  local data = all.read(args)
  local body = string.format('{"items":[{"product_id":"%s","quantity":1}]}', data.flash)
  requests = all.prepared(#data.tokens, function(n)
    return wrk.format("POST", "/api/v1/orders", all.headers(data.tokens[n]), body)
  end)
end

function request() return all.any(requests) end
function response(status) all.count(status) end
