# What rc.common and procd give an init script, for the test: config_load reads a file of UCI, the
# others write what they were called with. In: $UCI, the init script as $1, the word to run as $2.
# Never: starts a process.

config_load() {
	local word name value
	while read -r word name value; do
		value=${value#\'}
		value=${value%\'}
		case $word in
		config) config_cb "$name" "$value" ;;
		option) option_cb "$name" "$value" ;;
		list) list_cb "$name" "$value" ;;
		esac
	done <"$UCI/$1"
}

procd_open_instance() { echo open; }
procd_close_instance() { echo close; }
procd_set_param() { echo "set $*"; }
procd_append_param() { echo "append $*"; }
procd_send_signal() { echo "signal $*"; }
procd_add_reload_trigger() { echo "trigger $*"; }
start() { start_service "$@"; }

. "$1"
"$2"
