-- What lua.c runs: small tasks with pauses between them, mostly of another kind for each RUN.
math.randomseed(RUN + 1)

local function words(count)
  local made = {}
  for i = 1, count do
    local letters = {}
    for j = 1, math.random(2, 9) do letters[j] = string.char(96 + math.random(26)) end
    made[i] = table.concat(letters)
  end
  return made
end

local function sorts()
  for _ = 1, 2 do
    local list = words(math.random(4, 12))
    table.sort(list, function(a, b) return #a < #b or (#a == #b and a < b) end)
    local count = {}
    for _, word in ipairs(list) do
      local first = word:sub(1, 1)
      count[first] = (count[first] or 0) + 1
    end
  end
end

local function expression(text)
  local at = 1
  local sum
  local function atom()
    if text:sub(at, at) == "(" then
      at = at + 1
      local value = sum()
      at = at + 1
      return value
    end
    local digits = text:match("^%d+", at)
    at = at + #digits
    return tonumber(digits)
  end
  local function product()
    local value = atom()
    while text:sub(at, at) == "*" do at = at + 1; value = value * atom() end
    return value
  end
  function sum()
    local value = product()
    while text:sub(at, at) == "+" do at = at + 1; value = value + product() end
    return value
  end
  return sum()
end

local function grown(depth)
  if depth == 0 or math.random() < 0.2 then return tostring(math.random(99)) end
  local operator = math.random(2) == 1 and "+" or "*"
  return "(" .. grown(depth - 1) .. operator .. grown(depth - 1) .. ")"
end

local function parses() for _ = 1, 2 do expression(grown(3)) end end

local function tree(depth)
  if depth > 0 then tree(depth - 1); coroutine.yield(depth); tree(depth - 1) end
end

local function coroutines()
  for round = 1, math.random(3) do
    local sum = 0
    for value in coroutine.wrap(function() tree(math.random(2, 4)) end) do
      sum = sum + value
      if sum > 90 then break end
    end
    pcall(function() if round % 3 == 0 then error("enough") end end)
  end
end

local Shape = {}
Shape.__index = Shape
function Shape.new(size) return setmetatable({size = size, parts = {}}, Shape) end
function Shape:add(part) self.parts[#self.parts + 1] = part; return self end
function Shape:total()
  local sum = self.size
  for _, part in ipairs(self.parts) do sum = sum + part:total() end
  return sum
end
Shape.__add = function(a, b) return Shape.new(a.size + b.size):add(a):add(b) end

local function objects()
  local pool = {}
  for i = 1, math.random(10, 40) do
    pool[i] = Shape.new(i)
    if i > 2 and math.random(3) == 1 then pool[i] = pool[math.random(i - 1)] + pool[i] end
    if i % 25 == 0 then pool[i]:total(); tostring(pool[i]):gsub("%x", "%0") end
  end
end

local kinds = {sorts, parses, coroutines, objects}
local main = kinds[RUN % 4 + 1]
for _ = 1, 80 do
  if math.random(4) > 1 then main() else kinds[math.random(4)]() end
  if math.random(3) == 1 then collectgarbage("step") end
  wait(math.random(3000)) -- for whoever asks next, microseconds
end
