-- Of 10 requests 3 get an order, 3 list 20 products, 3 get a product and 1 places an order.
local all = dofile("bench/lua/all.lua")
local kinds

function init(args)
  local data = all.read(args)
  local headers = all.headers(data.tokens[1])
  local page = { wrk.format("GET", "/api/v1/products?limit=20", headers) }
  local orders = all.prepared(#data.orders, function(n)
    return wrk.format("GET", "/api/v1/orders/" .. data.orders[n], headers)
  end)
  local products = all.prepared(#data.products, function(n)
    return wrk.format("GET", "/api/v1/products/" .. data.products[n], headers)
  end)
  local new = all.prepared(4000, function() return all.new_order(data) end)
  kinds = { orders, orders, orders, page, page, page, products, products, products, new }
end

function request() return all.any(all.any(kinds)) end
function response(status) all.count(status) end
