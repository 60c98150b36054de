-- A new order of two lines: any customer, any two products.
local all = dofile("bench/lua/all.lua")
local requests

function init(args)
  local data = all.read(args)
  requests = all.prepared(4000, function() return all.new_order(data) end)
end

function request() return all.any(requests) end
function response(status) all.count(status) end
