-- wrk script: durable asserts of about 300 bytes each, all different.
--
-- With BODIES set, requests come from that file of NDJSON bodies (signed ones cannot be made here);
-- each thread then takes every THREADS-th line from its own start.
local counter, bodies, stride = 0, nil, 1
local threads = 0

function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

function init(args)
  math.randomseed(os.time() + id)
  salt = string.format("%08x%04x", math.random(0, 0x7fffffff), id)
  local path = os.getenv("BODIES")
  if path then
    bodies = {}
    for line in io.lines(path) do bodies[#bodies + 1] = line end
    stride = tonumber(os.getenv("THREADS") or "1")
    counter = id - stride + 1
  end
end

function request()
  local body
  if bodies then
    counter = counter + stride
    body = bodies[counter]
    if body == nil then os.exit(3) end
  else
    counter = counter + 1
    body = string.format(
      '{"subject":"sensor/%s/%d","predicate":"temperature","object":{"type":"Text","value":"%s"},'
        .. '"confidence":0.9,"timestamp":1700000000}',
      salt, counter, string.rep("x", 150))
  end
  return wrk.format("POST", "/v1/assert", { ["Content-Type"] = "application/json" }, body)
end

function done(summary, latency, requests)
  local seconds = summary.duration / 1e6
  local e = summary.errors
  io.write(string.format("RESULT %.1f %d %d %d %d\n", summary.requests / seconds,
    e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
