-- The first page of the catalogue, `limit` products.
local all = dofile("bench/lua/all.lua")
local page

function init(args)
  local data = all.read(args)
  local headers = all.headers(data.tokens[1])
  page = wrk.format("GET", "/api/v1/products?limit=" .. data.limit, headers)
end

function request() return page end
