-- One mail handed to SES's emulator, as large as ours are; it checks no signature.
local all = dofile("bench/lua/all.lua")
local mail

function init(args)
  local data = all.read(args)
  local text = string.rep("Thank you for your order. ", 40)
  local html = string.rep("<p>Thank you for your order.</p> ", 80)
  mail = wrk.format("POST", "/v2/email/outbound-emails", {
    ["Content-Type"] = "application/json",
    ["Authorization"] = "AWS4-HMAC-SHA256 Credential=cartwheel/20261122/us-east-1/ses/aws4_request, "
      .. "SignedHeaders=host, Signature=0",
  }, string.format(
    '{"FromEmailAddress":"%s","Destination":{"ToAddresses":["bench@example.com"]},"Content":'
    .. '{"Simple":{"Subject":{"Data":"Order"},"Body":{"Text":{"Data":"%s"},"Html":{"Data":"%s"}}}}}',
    data.sender, text, html))
end

function request() return mail end
