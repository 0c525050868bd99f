# An image and its containers: life.sh image|compose FOLDER. In: namespaces of mounts, processes and
# networks of its own; FOLDER with a program and dist/docker where the Dockerfile's commands look
# for them. Prints "N passed, M failed".
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
folder=$2
shown='{{.State.Status}} {{.State.ExitCode}}'

# Podman as it is installed, with nothing of this machine: no image, no network, no registry.
for place in /var/lib/containers /run /dev/shm /etc/containers /etc/cni; do
    mkdir -p "$place"
    mount -t tmpfs tmpfs "$place"
done
ip link set lo up
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
echo 'unqualified-search-registries = []' >/etc/containers/registries.conf
printf '[storage]\ndriver = "vfs"\nrunroot = "%s"\ngraphroot = "%s"\n' \
    /run/containers/storage /var/lib/containers/storage >/etc/containers/storage.conf
# Where a machine may not raise limits, podman's own are too high. crun refuses mixed hierarchies of
# control groups.
cat >/etc/containers/containers.conf <<CONF
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
CONF
# Podman has systemd run health checks, and there is none here: `podman healthcheck run` does.
# An image in docker's format has one, as docker builds it.
export DISABLE_HC_SYSTEMD=true BUILDAH_FORMAT=docker BUILDAH_ISOLATION=chroot
docker() { podman "$@"; }

# say COMMAND...: what it says, and its code in front.
say() {
    local said code
    said=$("$@" 2>&1) && code=0 || code=$?
    echo "$code $said"
}

# until_is WHAT PATTERN COMMAND...: waits until the command says so.
until_is() {
    local end=$((SECONDS + 60)) what=$1 pattern=$2 said
    shift 2
    until said=$(say "$@") && grep -qE -- "$pattern" <<<"$said"; do
        [ $SECONDS -lt $end ] || break
        sleep 0.1
    done
    expect "$what" "$pattern" "$said"
}

# put CONTAINER SUBJECT and got CONTAINER SUBJECT, by the program in the image.
put() { say podman exec "$1" /stemedb-edge put "$2" made_of rock; }
got() { podman exec "$1" /stemedb-edge query --subject "$2" --predicate made_of --lens recency; }
pid() { podman inspect --format '{{.State.Pid}}' "$1"; }
health() { podman inspect --format '{{.State.Health.Status}}' "$1"; }

# Of the first process of a container, as this machine's kernel has it.
check_confined() { # CONTAINER
    local process
    process=/proc/$(pid "$1")
    expect "$1 is not root" '^Uid:.65532.65532.65532.65532$' "$(cat "$process/status")"
    expect "$1 has no capability" '^CapBnd:.0000000000000000$' "$(cat "$process/status")"
    expect "$1 gains none" '^NoNewPrivs:.1$' "$(cat "$process/status")"
    expect "$1 cannot write its system" '^1 .*Read-only file system' \
        "$(say podman exec "$1" /stemedb-edge keygen /key)"
}

# build: by the commands at the head of the Dockerfile.
build() {
    local commands
    commands=$(sed -n 's/^#   \(cp\|docker\) /\1 /p' dist/docker/Dockerfile |
        sed "s/x86_64-unknown-linux-musl/$(uname -m)-unknown-linux-musl/")
    expect "the Dockerfile says how" '^2$' "$(wc -l <<<"$commands")"
    eval "set -e; $commands" >"$folder/build.log" 2>&1 ||
        { cat "$folder/build.log"; die "the image cannot be built"; }
}

image_of() { podman image inspect --format "$1" stemedb-edge; }

check_image() {
    local mounted size program=dist/docker/stemedb-edge
    mounted=$(podman image mount stemedb-edge)
    expect "the image holds the program and its directory" \
        '^0 0 755 /stemedb-edge 65532 65532 755 /data 65532 65532 644 /data/README $' \
        "$(find "$mounted" -mindepth 1 -printf '%U %G %m /%P\n' | sort -k 1,1n -k 4 | tr '\n' ' ')"
    expect "the same program" '^0 $' "$(say cmp "$program" "$mounted/stemedb-edge")"
    podman image unmount stemedb-edge >/dev/null
    # Of the tar that a layer is: headers, and what fills up blocks.
    size=$(($(image_of '{{.Size}}') - $(stat -c %s "$program")))
    expect "its size is the program's" '^yes$' "$([ $size -lt 16384 ] && echo yes || echo $size)"
    expect "its user" '^65532:65532$' "$(image_of '{{.User}}')"
    expect "its volume" '^map\[/data:\{\}\]$' "$(image_of '{{.Config.Volumes}}')"
    expect "its ports" '^map\[18180/tcp:.* 18181/tcp:.* 18182/tcp:.*\]$' \
        "$(image_of '{{.Config.ExposedPorts}}')"
    expect "its health check" '^\[CMD /stemedb-edge status --ready\] 10s 5s 1m0s$' \
        "$(image_of '{{with .HealthCheck}}{{.Test}} {{.Interval}} {{.Timeout}} '\
'{{.StartPeriod}}{{end}}')"
    podman build --quiet --platform linux/arm64 --no-cache --tag arm dist/docker >/dev/null
    expect "one of ARM" '^arm64$' "$(podman image inspect --format '{{.Architecture}}' arm)"
}

# A builder elsewhere is sent what the image is made of, and never the key.
check_context() {
    local mounted
    echo secret >dist/docker/cluster-key.txt
    printf 'FROM scratch\nCOPY . /\n' >"$folder/all"
    podman build --quiet --file "$folder/all" --tag all dist/docker >/dev/null
    mounted=$(podman image mount all)
    expect "what a builder is sent" '^data data/README stemedb-edge $' \
        "$(find "$mounted" -mindepth 1 -printf '%P\n' | sort | tr '\n' ' ')"
    podman image unmount all >/dev/null
    rm dist/docker/cluster-key.txt
}

image_scene() {
    build
    check_image
    check_context
    local hardened=(--read-only --cap-drop ALL --security-opt no-new-privileges)
    local words=(run --detach --name node --volume claims:/data "${hardened[@]}")

    expect "a node starts" '^0 ' "$(say podman "${words[@]}" stemedb-edge)"
    until_is "its health check" '^0 ' podman healthcheck run node
    expect "it is healthy" '^healthy$' "$(health node)"
    check_confined node
    expect "it writes its volume" '^0 ' "$(say podman exec node /stemedb-edge keygen /data/key)"
    expect "a claim" '^0 .* created$' "$(put node moon)"
    expect "it is stopped" '^0 ' "$(say podman stop --time 60 node)"
    expect "in order" '^exited 0$' "$(podman inspect --format "$shown" node)"
    expect "it is removed" '^0 ' "$(say podman rm node)"
    expect "no container is left" '^0 $' "$(say podman ps --all --quiet)"

    # Another container with that volume and settings of its own. It drains for so long that the
    # health check sees it.
    words+=(--env STEMEDB_DRAIN_DELAY=20s --env STEMEDB_AUTH_ENABLED=true)
    words+=(--env STEMEDB_ROOT_API_KEY=key --env STEMEDB_CLUSTER_KEY=key)
    expect "another starts" '^0 ' "$(say podman "${words[@]}" stemedb-edge)"
    until_is "it is ready with a key" '^0 ' podman healthcheck run node
    expect "the claim is there" '"value":"rock"' "$(say got node moon)"
    expect "it is asked to stop" '^0 ' "$(say podman kill --signal TERM node)"
    until_is "one that drains is not ready" '^1 ' podman healthcheck run node
    expect "while it serves" '"value":"rock"' "$(say got node moon)"
    expect "its drain ends" '^0 ' "$(say timeout 60 podman wait node)"
    expect "in order, too" '^exited 0$' "$(podman inspect --format "$shown" node)"
    podman rm node >/dev/null

    # Without the volume there is no claim: it was there that it lay.
    expect "one without the volume" '^0 ' \
        "$(say podman run --detach --name node "${hardened[@]}" stemedb-edge)"
    until_is "it is ready" '^0 ' podman healthcheck run node
    expect "it has no claim" '^0 .*"assertions":\[\]' "$(say got node moon)"
    podman rm --force --time 60 --volumes node >/dev/null
}

compose() { podman-compose -f "$folder/dist/docker/compose.yaml" "$@" 2>>"$folder/compose.log"; }
# The container of a service.
of() { podman ps --all --filter "label=com.docker.compose.service=$1" --format '{{.Names}}'; }
alive() { podman exec "$(of "$1")" /stemedb-edge status | grep -c Alive; }
gateway() { curl -sSf "http://127.0.0.1:$1/v1/query?subject=$2&predicate=made_of&lens=recency"; }

compose_scene() {
    build
    # By the commands at its head.
    local name key
    key=$(sed -n 's/^#   \((umask\|chown\) /\1 /p' dist/docker/compose.yaml)
    expect "the compose file says how" '^2$' "$(wc -l <<<"$key")"
    (cd dist/docker && eval "set -e; $key")
    expect "the key is a secret" '^65532 600$' "$(stat -c '%u %a' dist/docker/cluster-key.txt)"

    expect "three start" '^0 ' "$(say compose up --detach)"
    for name in a b c; do
        until_is "$name sees three" '^0 3$' alive "$name"
        until_is "$name is healthy" '^0 ' podman healthcheck run "$(of $name)"
        check_confined "$(of $name)"
        expect "$name has its memory" 'budget=256 MiB' "$(podman logs "$(of $name)" 2>&1)"
        expect "$name has the key" '^0$' \
            "$(podman logs "$(of $name)" 2>&1 | grep -c 'STEMEDB_CLUSTER_KEY closes' || true)"
    done
    expect "a claim at a" '^0 .* created$' "$(put "$(of a)" moon)"
    for name in b c; do
        until_is "it comes to $name" '"value":"rock"' got "$(of $name)" moon
    done
    for name in 18181 18182 18183; do
        until_is "gateway $name" '"value":"rock"' gateway $name moon
    done
    # Podman holds the ports that it publishes.
    expect "gateways are this machine's" \
        '^127.0.0.1:18181 127.0.0.1:18182 127.0.0.1:18183 $' \
        "$(ss -Hltn | awk '$4 ~ /:1818[0-9]$/ { print $4 }' | sort | tr '\n' ' ')"

    # --- killed, as by the kernel that has no memory left
    local killed
    killed=$(pid "$(of b)")
    kill -9 "$killed"
    until_is "b is started again" '^0 [1-9]' running_but "$(of b)" "$killed"
    until_is "it is ready again" '^0 ' podman healthcheck run "$(of b)"
    until_is "it sees three again" '^0 3$' alive b
    expect "it has the claim" '"value":"rock"' "$(say got "$(of b)" moon)"

    # --- stopped, and started after a claim that it missed
    expect "c is stopped" '^0 ' "$(say compose stop c)"
    expect "c ended in order" '^exited 0$' "$(podman inspect --format "$shown" "$(of c)")"
    expect "a claim without c" '^0 .* created$' "$(put "$(of a)" sun)"
    expect "c is started" '^0 ' "$(say compose start c)"
    until_is "c catches up" '"value":"rock"' got "$(of c)" sun

    # --- all of it, again
    expect "they go" '^0 ' "$(say compose down)"
    expect "no container is left" '^0 $' "$(say podman ps --all --quiet)"
    expect "they come" '^0 ' "$(say compose up --detach)"
    until_is "with the claims" '"value":"rock"' gateway 18183 sun
    expect "they go for good" '^0 ' "$(say compose down --volumes)"
    expect "no volume is left" '^0 $' "$(say podman volume ls --quiet)"
}

# running_but CONTAINER PROCESS: its process, if that is another one.
running_but() {
    local now
    now=$(pid "$1")
    [ "$now" != 0 ] && [ "$now" != "$2" ] && echo "$now"
}

# What helps to see why, if a check failed.
show_logs() {
    local container
    [ "$failed" != 0 ] || return 0
    tail -n 40 "$folder"/*.log
    for container in $(podman ps --all --quiet); do
        echo "--- log of container $container"
        podman logs "$container" 2>&1 | tail -n 20
    done
}

cd "$folder"
trap show_logs EXIT
"$1_scene"
tell
