# The unit under a manager of systemd's own: started, reloaded, hung, stopped, given a wrong setting.
# In: a folder with the unit for a user's manager, as $1; namespaces of mounts and processes of its
# own. Out: what systemd says at each point. The manager ends with the namespace.

mount -t tmpfs tmpfs /run
# By this systemd knows that the machine runs it.
mkdir -p /run/systemd/system
export HOME=$1 XDG_RUNTIME_DIR=$1
# The manager leaves its own group behind, where it had to make it.
scope=/sys/fs/cgroup/systemd/init.scope
[ -d "$scope" ] && is_ours=no || is_ours=yes
timeout 120 /lib/systemd/systemd --user >"$1/manager.log" 2>&1 &
manager=$!

ctl() { timeout 30 systemctl --user --no-pager "$@" 2>&1; }
show() { ctl show --value -p "$1" stemedb-edge; }
# until_is PROPERTY VALUE
until_is() {
    local tries=0
    until [ "$(show "$1")" = "$2" ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || break
        sleep 0.05
    done
}

tries=0
until [ -S "$1/systemd/private" ] || [ $tries -gt 200 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
ctl start stemedb-edge
echo "started: $? $(show SubState) $(show StatusText)"
ctl reload stemedb-edge
code=$?
until_is SubState running
echo "reloaded: $code $(show SubState) $(show StatusText)"
kill -STOP "$(show MainPID)"
until_is NRestarts 1
until_is SubState running
echo "hung: restarts $(show NRestarts) $(show SubState)"
ctl stop stemedb-edge
echo "stopped: $? $(show ActiveState) $(show ExecMainStatus)"
ctl set-environment STEMEDB_SHARDS=0
ctl start stemedb-edge >/dev/null
until_is ActiveState failed
echo "wrong setting: $(show ActiveState) $(show ExecMainStatus) restarts $(show NRestarts)"
kill "$manager"
wait "$manager"
[ "$is_ours" = no ] || rmdir "$scope" 2>/dev/null || true
