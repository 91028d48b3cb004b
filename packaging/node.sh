# What `make up` and `make down` share; sourced. STATE, STORE, PREFIX and OPTIONS (more options of the
# daemon) come from the makefile.
STATE=${STATE:-/var/lib/vstore}
PREFIX=${PREFIX:-/usr/local}
OPTIONS=${OPTIONS:-}
SOCKET=$STATE/vstored.sock
PIDFILE=$STATE/vstored.pid
LOG=$STATE/vstored.log
OPTIONS_FILE=/etc/default/vstore
vstore="$PREFIX/bin/vstore --socket $SOCKET"

with_systemd() {
	[ -d /run/systemd/system ]
}

# Whether the process of the pidfile is ours: a number alone may be anybody's by now.
daemon_pid() {
	[ -r "$PIDFILE" ] && pid=$(cat "$PIDFILE") && [ -n "$pid" ] &&
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = vstored ] && echo "$pid"
}

need_root() {
	[ "$(id -u)" = 0 ] || { echo "make $1: run this as root" >&2; exit 1; }
}

stop_daemon() {
	if with_systemd; then
		systemctl stop vstored.service
	elif pid=$(daemon_pid); then
		kill -TERM "$pid"
		tail --pid="$pid" -f /dev/null
		rm -f "$PIDFILE"
	fi
}
