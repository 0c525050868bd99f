# Installs, upgrades and purges the .deb in a copy of a Debian system: life.sh chroot|booted BASE
# FOLDER. In: namespaces of mounts and processes of its own; the system in BASE, which stays as it
# is; older.deb and new.deb in FOLDER. Prints "N passed, M failed".
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
base=$2 folder=$3
system=$folder/$1/root
data=/var/lib/stemedb-edge
settings=/etc/default/stemedb-edge

# What is written goes to memory.
mkdir "$folder/$1"
mount -t tmpfs tmpfs "$folder/$1"
mkdir "$folder/$1/upper" "$folder/$1/work" "$system"
mount -t overlay overlay "$system" \
    -o "lowerdir=$base,upperdir=$folder/$1/upper,workdir=$folder/$1/work"
cp "$folder/older.deb" "$folder/new.deb" "$system/root"

# say COMMAND...: what it says inside, and its code in front.
say() {
    local said code
    said=$(inside "$@" 2>&1) && code=0 || code=$?
    echo "$code $said"
}

# until_is PATTERN COMMAND...: waits until the command says so.
until_is() {
    local tries=0 pattern=$1 said
    shift
    until said=$(say "$@") && grep -qE "$pattern" <<<"$said"; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || break
        sleep 0.1
    done
    expect "$*" "$pattern" "$said"
}

claims() { say stemedb-edge query --subject moon --predicate made_of --lens recency; }

left() { say find /etc /usr /lib /var/lib -name '*stemedb*'; }
show() { inside systemctl show --value -p "$1" stemedb-edge; }
environment() { inside sh -c "tr '\\0' '\\n' <'/proc/$(show MainPID)/environ'"; }

# Without a systemd that runs, as in a container or an image that is being made.
chroot_scene() {
    mount -t proc proc "$system/proc"
    inside() { chroot "$system" "$@"; }
    expect "it is installed" '^0 ' "$(say dpkg -i /root/new.deb)"
    expect "the unit is verified" '^0 $' \
        "$(say systemd-analyze verify /lib/systemd/system/stemedb-edge.service)"
    expect "the unit is enabled" '^0 enabled$' "$(say systemctl is-enabled stemedb-edge)"
    expect "the manual is there" '^0 ' "$(say test -s /usr/share/man/man1/stemedb-edge.1.gz)"
    expect "nothing is started" '^1 $' "$(say pgrep stemedb-edge)"
    local program
    program=$(sed -n 's/^ExecStart=//p' "$system/lib/systemd/system/stemedb-edge.service")
    # shellcheck disable=SC2086
    STEMEDB_DATA_DIR=$data inside $program 2>"$folder/log" &
    until_is '^0 ' stemedb-edge status --ready
    expect "it takes a claim" '^0 .* created$' \
        "$(say stemedb-edge put moon made_of rock)"
    inside pkill stemedb-edge
    wait $! && code=0 || code=$?
    expect "it ends well" '^0$' "$code"
    expect "it is purged" "^Removing the claims of stemedb-edge in $data\$" \
        "$(say dpkg -P stemedb-edge)"
    expect "nothing of it is left" '^0 $' "$(left)"
}

booted_scene() {
    # Not that of this machine: systemd-nspawn keeps its things there.
    mount -t tmpfs tmpfs /run
    local groups
    groups=$(ls -d /sys/fs/cgroup/payload /sys/fs/cgroup/*/payload 2>/dev/null || true)
    systemd-nspawn --quiet --directory="$system" --boot --private-network --register=no \
        --keep-unit --console=pipe </dev/null >"$folder/console" 2>&1 &
    local container=$! leader=
    until [ -n "$leader" ]; do
        kill -0 $container 2>/dev/null || { cat "$folder/console"; die "no container"; }
        sleep 0.05
        leader=$(pgrep -P $container -x systemd || true)
    done
    inside() { nsenter -t "$leader" -m -u -i -n -p -- "$@"; }
    until_is '^0 ' test -S /run/systemd/private
    until_is '^0 running$' systemctl is-system-running

    # --- installed
    expect "it is installed" '^0 ' "$(say dpkg -i /root/older.deb)"
    expect "the service runs" '^0 active$' "$(say systemctl is-active stemedb-edge)"
    expect "and after a boot" '^0 enabled$' "$(say systemctl is-enabled stemedb-edge)"
    expect "it is ready" '"status":"ready"' "$(say stemedb-edge status --ready)"
    local old
    old=$(show MainPID)
    expect "a claim" '^0 .* created$' "$(say stemedb-edge put moon made_of rock)"

    # --- upgraded, with data and a changed setting in place
    inside sed -i 's/^#\(STEMEDB_MAX_LOG_BYTES=\).*/\1123M/' $settings
    expect "it is upgraded" '^0 ' "$(say dpkg --force-confold -i /root/new.deb)"
    expect "from the lower version" '^0 installed [1-9]|^0 installed 0\.[1-9]' \
        "$(say dpkg-query -W -f '${db:Status-Status} ${Version}' stemedb-edge)"
    expect "the service runs on" '^0 active$' "$(say systemctl is-active stemedb-edge)"
    expect "as another process" '^1 ' "$(say test -d "/proc/$old")"
    said=$(say cat "/proc/$(show MainPID)/status")
    expect "it is not root" '^Uid:.[1-9]' "$said"
    expect "it has no capability" '^CapEff:.0000000000000000$' "$said"
    expect "its calls are filtered" '^Seccomp:.2$' "$said"
    expect "its data are private" '^0 private/stemedb-edge$' "$(say readlink $data)"
    expect "the claim is there" '"value":"rock"' "$(claims)"
    expect "the changed setting is kept" '^STEMEDB_MAX_LOG_BYTES=123M$' "$(say cat $settings)"
    expect "and is in force" '^STEMEDB_MAX_LOG_BYTES=123M$' "$(environment)"
    expect "the package's text is beside it" '^0 $' "$(say test -f $settings.dpkg-dist)"

    # --- a setting that no node starts with, and a service that was switched off
    inside sed -i '$aSTEMEDB_SHARDS=0' $settings
    expect "an upgrade outlives a wrong setting" '^0 ' "$(say dpkg -i /root/new.deb)"
    expect "which is not tried again" '^failed 2 0 $' \
        "$(show ActiveState) $(show ExecMainStatus) $(show NRestarts) "
    inside sed -i '/STEMEDB_SHARDS/d' $settings
    inside systemctl disable --quiet --now stemedb-edge
    expect "an upgrade" '^0 ' "$(say dpkg -i /root/new.deb)"
    expect "what was disabled stays so" '^1 disabled$' "$(say systemctl is-enabled stemedb-edge)"
    expect "and is not started" '^3 ' "$(say systemctl is-active stemedb-edge)"
    expect "it is enabled again" '^0 ' "$(say systemctl enable --now stemedb-edge)"
    expect "the claim is there, still" '"value":"rock"' "$(claims)"

    # --- removed, installed again, purged
    expect "it is removed" '^0 ' "$(say dpkg -r stemedb-edge)"
    expect "no node runs" '^1 $' "$(say pgrep stemedb-edge)"
    expect "its data stay" '^0 $' "$(say test -d /var/lib/private/stemedb-edge/log)"
    expect "its settings stay" '^STEMEDB_MAX_LOG_BYTES=123M$' "$(say cat $settings)"
    expect "it is installed again" '^0 ' "$(say dpkg -i /root/new.deb)"
    expect "the claim is there after all" '"value":"rock"' "$(claims)"
    expect "it is purged" \
        '^Removing the claims of stemedb-edge in /var/lib/private/stemedb-edge$' \
        "$(say dpkg -P stemedb-edge)"
    expect "no node is left" '^1 $' "$(say pgrep stemedb-edge)"
    expect "nothing of it is left" '^0 $' "$(left)"

    # systemd-nspawn has the system stop in order, and leaves its groups behind.
    kill $container
    wait $container || true
    [ -n "$groups" ] || find /sys/fs/cgroup/payload /sys/fs/cgroup/*/payload -depth -type d \
        -exec rmdir {} + 2>/dev/null || true
}

"$1_scene"
tell
