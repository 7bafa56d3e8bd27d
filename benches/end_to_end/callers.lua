-- As wrk.lua, with the tokens of the file that is the first argument, one after the other; an empty file is no token.
dofile("benches/end_to_end/wrk.lua")

local requests, turn = {}, 0

function init(args)
  for token in io.lines(args[1]) do
    wrk.headers["Authorization"] = "Bearer " .. token
    requests[#requests + 1] = wrk.format()
  end
  if #requests == 0 then
    requests[1] = wrk.format()
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
