-- wrk script: GETs of the paths in the file PATHS, one after the other and over again; without PATHS
-- what the script CLAIMS requests. At the end one line: requests per second, errors, and the
-- latency's p50, p99, p99.9 and maximum in microseconds.
local path = os.getenv("PATHS")

if path then
  local requests, at = {}, 0

  -- Made beforehand, so that a request costs a look into a table.
  function init(args)
    for line in io.lines(path) do requests[#requests + 1] = wrk.format("GET", line) end
  end

  function request()
    at = at % #requests + 1
    return requests[at]
  end
else
  dofile(os.getenv("CLAIMS"))
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("FIGURES %.1f %d %d %d %d %d\n", summary.requests / (summary.duration / 1e6),
    e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
