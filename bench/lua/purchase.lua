-- Pays an order that waits to be paid, if there is one; otherwise places one.
local all = dofile("bench/lua/all.lua")
local requests, token_of, first, last = nil, nil, 1, 0
local waiting = {}
paid = 0

local PAYMENT = '{"order_id":"%s","method":{"type":"card","token":"pm_card_visa"},'
  .. '"shipping_address":{"name":"Grace Hopper","street":"Harbour Street","number":"9",'
  .. '"city":"Arlington","zip_code":"22201","country":"US"}}'

function init(args)
  local data = all.read(args)
  token_of = data.token_of
  requests = all.prepared(4000, function() return all.new_order(data) end)
end

function request()
  if last < first then return all.any(requests) end
  local order = waiting[first]
  waiting[first] = nil
  first = first + 1
  return wrk.format(
    "POST", "/api/v1/payments", all.headers(token_of[order.user]), PAYMENT:format(order.id))
end

function response(status, headers, body)
  local id = body:match('^{"id":"(ord_%x+)"')
  if id then
    last = last + 1
    waiting[last] = { id = id, user = body:match('"user":{"id":"([^"]+)"') }
    all.count("order " .. status)
  else
    all.count("payment " .. status)
  end
end
