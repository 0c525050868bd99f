# Shared by the scripts of this folder (bash). In: the repository this file lies in. Out: functions
# that find or install a tool, start the node on free ports, and count checks. A tool that cannot be
# had ends the script with a message; nothing is skipped in silence.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/target/vendor
mkdir -p "$tools"

die() {
    echo "vendor-tests: $*" >&2
    exit 1
}

# Debian packages that are not installed yet.
debian() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "installing ${missing[*]}"
    apt_update
    DEBIAN_FRONTEND=noninteractive apt_get install -y --no-install-recommends "${missing[@]}" \
        >"$tools/apt.log" 2>&1 ||
        { tail -n 20 "$tools/apt.log"; die "cannot install ${missing[*]} (are we root?)"; }
}

# One at a time, for steps run beside each other and apt waits for no other apt's lists.
apt_get() {
    flock "$tools/apt.lock" apt-get "$@"
}

apt_update() {
    apt_get update >"$tools/apt-update.log" 2>&1 ||
        { tail -n 20 "$tools/apt-update.log"; die "apt-get update fails"; }
}

# Where `go install` puts programs.
go_bin() {
    command -v go >/dev/null || die "go is missing: it builds grpcurl and h2spec"
    local bin
    bin=$(go env GOBIN)
    echo "${bin:-$(go env GOPATH)/bin}"
}

# Sets $grpcurl.
need_grpcurl() {
    grpcurl=$(command -v grpcurl || true)
    [ -n "$grpcurl" ] && return
    grpcurl=$(go_bin)/grpcurl
    [ -x "$grpcurl" ] && return
    echo "installing grpcurl"
    go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3 >"$tools/go.log" 2>&1 ||
        { tail -n 20 "$tools/go.log"; die "cannot install grpcurl"; }
}

# Sets $h2spec. Newer versions than this one have no path that `go install` takes.
need_h2spec() {
    h2spec=$(go_bin)/h2spec
    [ -x "$h2spec" ] && return
    echo "installing h2spec"
    go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible >"$tools/go.log" 2>&1 ||
        { tail -n 20 "$tools/go.log"; die "cannot install h2spec"; }
}

# Sets $promtool. The package is unpacked, not installed: it would bring a service.
need_promtool() {
    promtool=$(command -v promtool || true)
    [ -n "$promtool" ] && return
    promtool=$tools/prometheus/usr/bin/promtool
    [ -x "$promtool" ] && return
    echo "unpacking promtool"
    apt_update
    (cd "$tools" && rm -f prometheus_*.deb && apt-get download prometheus >apt.log 2>&1 &&
        dpkg-deb -x prometheus_*.deb prometheus && rm -f prometheus_*.deb) ||
        die "cannot get promtool out of Debian's package prometheus"
}

# need_venv REQUIREMENTS [NAME]: sets $python, with those packages, in an environment of that name.
need_venv() {
    local venv=$tools/${2:-venv}
    python=$venv/bin/python
    cmp -s "$1" "$venv/installed.txt" && return
    echo "installing $(tr '\n' ' ' <"$1")"
    python3 -m venv "$venv" >"$tools/pip.log" 2>&1 || { debian python3-venv && python3 -m venv "$venv"; }
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$1" >"$tools/pip.log" 2>&1 ||
        { tail -n 20 "$tools/pip.log"; die "cannot install the Python packages of $1"; }
    cp "$1" "$venv/installed.txt"
}

# Words that start the node: STEMEDB_NODE, or the program this workspace builds.
need_node() {
    if [ -z "${STEMEDB_NODE:-}" ]; then
        cargo build --quiet --manifest-path "$root/Cargo.toml" --target-dir "$root/target"
        STEMEDB_NODE=$root/target/debug/stemedb-edge
    fi
    read -r -a node_words <<<"$STEMEDB_NODE"
}

# start_node [NAME=VALUE...]: sets $http and $rpc. One node a script; it goes when the script does.
start_node() {
    need_node
    node_dir=$(mktemp -d)
    trap stop_node EXIT
    env STEMEDB_DATA_DIR="$node_dir/data" STEMEDB_BIND_ADDR=127.0.0.1:0 \
        STEMEDB_GATEWAY_ADDR=127.0.0.1:0 STEMEDB_RPC_ADDR=127.0.0.1:0 \
        STEMEDB_ANTI_ENTROPY_INTERVAL=off "$@" "${node_words[@]}" 2>"$node_dir/log" >/dev/null &
    node_pid=$!
    local tries=0
    until http=$(said api) && rpc=$(said rpc); do
        kill -0 "$node_pid" 2>/dev/null || { cat "$node_dir/log"; die "the node ended at once"; }
        tries=$((tries + 1))
        [ $tries -lt 1200 ] || { cat "$node_dir/log"; die "the node never said where it listens"; }
        sleep 0.05
    done
}

# The address that the node's log gives for a key.
said() {
    grep -oE "(^| )$1=[0-9.]+:[0-9]+" "$node_dir/log" | head -n 1 | cut -d= -f2 | grep .
}

# stop_node [CODE]: ends the script with CODE, or as it was about to end.
stop_node() {
    local code=${1:-$?}
    if [ -n "${node_pid:-}" ]; then
        kill "$node_pid" 2>/dev/null || true
        wait "$node_pid" 2>/dev/null || true
    fi
    [ "$code" = 0 ] || { echo "--- log of the node"; tail -n 40 "$node_dir/log"; }
    rm -rf "$node_dir"
    exit "$code"
}

passed=0
failed=0

# expect WHAT PATTERN OUTPUT: one check, by extended regular expression.
expect() {
    if grep -qE -- "$2" <<<"$3"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s: no /%s/ in\n%s\n' "$1" "$2" "$3"
    fi
}

# The closing line, and the exit code it asks for.
tell() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}
