# shellcheck shell=bash
# Library of the end-to-end tests: unmodified programs on the stack, against the kernel's own stack on the other side.
#
# Two network namespaces: in the peer's stand the kernel's stack (10.0.0.1/24) and the host's side of the TAP; in the app's runs the
# program under the shim. The app's namespace has no interface but lo, which is down, so nothing can pass around the stack:
# the library opens /dev/net/tun in the peer's namespace (device `tap:NAME@NAMESPACE`). After each test frames must have been
# counted on the TAP and the app's kernel must know of no internet socket.
#
# A script whose programs are not to get that far sets NO_FRAMES=1.
#
# A script defines functions test_NAME and calls e2e_main PREFIX "$@": each test gets a TAP and a folder ($DIR) of its own and gives
# one line, `ok e2e-PREFIX-NAME`. Arguments choose tests by name. E2E_KERNEL=1 runs the same tests with the kernel's stack on both
# sides of a veth pair: what fails there is the test's fault. LONG=1 transfers the full sizes. E2E_VERBOSE=1 shows every log.

PEER=10.0.0.1
APP=10.0.0.2
E2E_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-build}
[[ $BUILD == /* ]] || BUILD=$E2E_ROOT/$BUILD
PEER_NS=us-peer-$$
APP_NS=us-app-$$
KERNEL_NS=us-kern-$$
# Seconds for a program in the foreground; the long form's must do on a busy machine.
E2E_TIMEOUT=${E2E_TIMEOUT:-$([ "${LONG:-0}" = 1 ] && echo 300 || echo 60)}
E2E_DIR=
DIR=
TAP=
APP_ENV=()
declare -A PID # read by the tests
export PID
# The interpreters of the distribution, whatever else a developer has in PATH.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C.UTF-8
ulimit -c 0

# size CHECK LONG: the one that applies.
size() {
	if [ "${LONG:-0}" = 1 ]; then echo "$2"; else echo "$1"; fi
}

fail() {
	echo "FAIL $*" >&2
	echo "$*" >"$DIR/why"
	exit 1
}

# skip REASON: ends a test that cannot be made here.
skip() {
	echo "$*" >"$DIR/skip"
	exit 0
}

# ---- namespaces and devices

e2e_congestion() {
	# A namespace may select only what the initial one allows; what is allowed matters at that moment alone.
	local allowed
	exec 8>/run/lock/ustack-e2e
	flock -w 60 8
	allowed=$(sysctl -n net.ipv4.tcp_allowed_congestion_control)
	sysctl -qw "net.ipv4.tcp_allowed_congestion_control=$allowed cubic" || true
	for ns in "$@"; do
		nsenter --net="/run/netns/$ns" sysctl -qw net.ipv4.tcp_congestion_control=cubic
	done
	sysctl -qw "net.ipv4.tcp_allowed_congestion_control=$allowed"
	exec 8>&-
}

e2e_setup() {
	[ "$(id -u)" -eq 0 ] && [ -c /dev/net/tun ] || return 1
	E2E_DIR=$(mktemp -d /tmp/ustack-e2e.XXXXXX)
	chmod 755 "$E2E_DIR"
	# Where other users' programs can read it, too, wherever the tree lies; the keeper's program is looked for beside it.
	[ ! -e "$BUILD/libustack.so" ] || install "$BUILD/libustack.so" "$BUILD/ustack" "$E2E_DIR"
	trap e2e_cleanup EXIT
	trap 'exit 143' TERM INT HUP
	for ns in "$PEER_NS" "$APP_NS"; do
		ip netns add "$ns"
		nsenter --net="/run/netns/$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 \
			net.ipv6.conf.default.disable_ipv6=1
	done
	e2e_congestion "$PEER_NS" "$APP_NS"
	ip -n "$PEER_NS" link set lo up
}

e2e_cleanup() {
	trap - EXIT
	# A benchmark that has changed APP_NS ends here too.
	for ns in "us-app-$$" "$KERNEL_NS" "$PEER_NS"; do
		[ -e "/run/netns/$ns" ] || continue
		end_all "$ns"
		ip netns del "$ns" || true
	done
	[ -z "$E2E_DIR" ] || rm -rf "$E2E_DIR"
}

# All processes of a namespace are ours: we made it.
end_all() {
	local pids try
	for try in 1 2 3 4 5 6 7 8 9 10; do
		pids=$(ip netns pids "$1")
		[ -n "$pids" ] || return 0
		if [ "$try" -lt 5 ]; then
			# shellcheck disable=SC2086 # one word a process
			kill $pids 2>/dev/null || true
		else
			# shellcheck disable=SC2086
			kill -9 $pids 2>/dev/null || true
		fi
		sleep 0.1
	done
	return 0
}

device_up() {
	TAP=us$$n$1
	if [ "${E2E_KERNEL:-0}" = 1 ]; then
		ip -n "$PEER_NS" link add "$TAP" type veth peer name app0 netns "$APP_NS"
		ip -n "$APP_NS" addr add "$APP/24" dev app0
		ip -n "$APP_NS" link set app0 up
		ip -n "$APP_NS" link set lo up
		ip -n "$APP_NS" route add default via "$PEER"
	else
		ip -n "$PEER_NS" tuntap add mode tap name "$TAP"
	fi
	ip -n "$PEER_NS" addr add "$PEER/24" dev "$TAP"
	ip -n "$PEER_NS" link set "$TAP" up
	APP_ENV=()
	[ "${E2E_KERNEL:-0}" = 1 ] || APP_ENV=(LD_PRELOAD="$E2E_DIR/libustack.so" USTACK_DEVICE="tap:$TAP@$PEER_NS"
		USTACK_ADDRESS="$APP/24" USTACK_GATEWAY="$PEER")
}

device_down() {
	app_down || true
	end_all "$APP_NS"
	end_all "$PEER_NS"
	ip -n "$PEER_NS" link del "$TAP" 2>/dev/null || true
}

# Ends the stack that outlives its programs.
app_down() {
	[ "${E2E_KERNEL:-0}" = 1 ] || timeout -k 2 10 nsenter --net="/run/netns/$APP_NS" \
		env "${APP_ENV[@]:1}" "$BUILD/ustack" down >>"$DIR/down.log" 2>&1
}

# on_kernel CMD ...: runs a command of the test with the kernel's stack in the place of ours, in a namespace of its own; then goes
# back. For the comparison of what both give.
on_kernel() {
	local ns=$APP_NS status=0
	device_down
	APP_NS=$KERNEL_NS
	ip netns add "$APP_NS"
	nsenter --net="/run/netns/$APP_NS" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
	E2E_KERNEL=1 device_up k
	E2E_KERNEL=1 "$@" || status=$?
	E2E_KERNEL=1 device_down
	ip netns del "$APP_NS"
	APP_NS=$ns
	device_up "$n"
	return $status
}

# ---- running programs

# app CMD ...: runs it under the shim, in the app's namespace; peer CMD ...: on the kernel's stack, in the peer's.
app() {
	timeout -k 5 "$E2E_TIMEOUT" nsenter --net="/run/netns/$APP_NS" env "${APP_ENV[@]}" "$@"
}
peer() {
	timeout -k 5 "$E2E_TIMEOUT" nsenter --net="/run/netns/$PEER_NS" "$@"
}

# app_start NAME CMD ..., peer_start NAME CMD ...: the same in the background until the test's end, output in $DIR/NAME.log,
# process id in ${PID[NAME]} (of the timeout command that passes signals on).
app_start() {
	local name=$1
	shift
	(exec timeout -k 5 1200 nsenter --net="/run/netns/$APP_NS" env "${APP_ENV[@]}" "$@") >"$DIR/$name.log" 2>&1 </dev/null &
	PID[$name]=$!
}
peer_start() {
	local name=$1
	shift
	(exec timeout -k 5 1200 nsenter --net="/run/netns/$PEER_NS" "$@") >"$DIR/$name.log" 2>&1 </dev/null &
	PID[$name]=$!
}

# ended NAME: waits for a program in the background to end by itself, and gives its status.
ended() {
	retry "$E2E_TIMEOUT" eval "! kill -0 ${PID[$1]} 2>/dev/null" || fail "$1 does not end"
	wait "${PID[$1]}"
}

# For what only our stack has: `stack_only || return 0`.
stack_only() {
	[ "${E2E_KERNEL:-0}" != 1 ]
}

# retry SECONDS CMD ...: until it succeeds.
retry() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# A server of the peer listens on the TCP port (udp: the UDP port).
peer_listens() {
	local what=-t
	[ "${2:-tcp}" = udp ] && what=-u
	[ -n "$(nsenter --net="/run/netns/$PEER_NS" ss -H -ln "$what" "sport = :$1")" ]
}
wait_peer() {
	retry 20 peer_listens "$@" || fail "the peer's server did not come up on port $1"
}

# A server of the app accepts; the probe is a connection, so only for servers that take several.
app_accepts() {
	# shellcheck disable=SC2016 # the inner shell's arguments
	timeout 5 nsenter --net="/run/netns/$PEER_NS" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$APP" "$1" 2>/dev/null
}
wait_app() {
	retry 20 app_accepts "$1" || fail "the app's server did not come up on port $1"
}

# ---- content and assertions

# data FILE BYTES: the same pseudo-random bytes for the same name and size.
data() {
	local key=${1##*/}
	head -c "$2" /dev/zero | openssl enc -aes-128-ctr -nosalt -pbkdf2 -iter 1 -pass "pass:$key" 2>/dev/null >"$1"
}
hash_of() {
	sha256sum "$@" | cut -c 1-64
}
assert_same() {
	[ -e "$2" ] || fail "$2 was not written"
	[ "$(hash_of "$1")" = "$(hash_of "$2")" ] ||
		fail "$(basename "$2") ($(stat -c %s "$2") bytes) differs from $(basename "$1") ($(stat -c %s "$1") bytes)"
}
assert_equal() {
	[ "$1" = "$2" ] || fail "expected '$1', got '$2'"
}
assert_grep() {
	grep -qE -- "$1" "$2" || fail "no '$1' in $(basename "$2"): $(tail -n 3 "$2" | tr '\n' ' ')"
}

# received transmitted: packets counted by the peer's side of the device.
frames() {
	ip -n "$PEER_NS" -s -o link show "$TAP" | sed 's/\\/\n/g' | awk '/RX:/ { getline; r = $2 } /TX:/ { getline; t = $2 } END { print r, t }'
}
assert_frames() {
	local r t
	read -r r t < <(frames)
	[ "$r" -ge "${1:-1}" ] || fail "only $r frames came from the stack ($t went to it)"
}

# Nothing passed around the stack: no internet socket in the app's kernel now, none that ever connected, accepted or sent.
assert_no_kernel_sockets() {
	local used
	[ "${E2E_KERNEL:-0}" = 1 ] && return 0
	used=$(nsenter --net="/run/netns/$APP_NS" ss -H -a -n -t -u -w)
	[ -z "$used" ] || fail "kernel sockets in the app's namespace: $used"
	# shellcheck disable=SC2016 # awk's fields
	used=$(nsenter --net="/run/netns/$APP_NS" awk '
		/^Tcp:/ && t++ { print $6 + $7 } /^Udp:/ && u++ { print $5 }' /proc/net/snmp | tr '\n' ' ')
	[ "$used" = "0 0 " ] || fail "the app's kernel connected, accepted or sent: $used"
}

# ---- the tests of a script

# Must not be called as a condition: bash would then ignore `set -e` within.
e2e_one() {
	local name=$1 pid end=$((SECONDS + $(size 120 1200)))
	DIR=$E2E_DIR/$name
	mkdir -p "$DIR"
	device_up "$2"
	(
		set -Eeuo pipefail
		trap 'echo "FAIL (lines $LINENO ${BASH_LINENO[*]}): $BASH_COMMAND" >&2' ERR
		cd "$DIR"
		"test_$name"
		[ "${NO_FRAMES:-0}" = 1 ] || assert_frames
		assert_no_kernel_sockets
	) >"$DIR/test.log" 2>&1 &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		if [ $SECONDS -gt $end ]; then
			echo "the test took too long" >"$DIR/why"
			kill $pid
			end_all "$APP_NS"
			end_all "$PEER_NS"
		fi
		sleep 0.05
	done
	wait $pid
	status=$?
	device_down
}

show_logs() {
	for log in "$DIR"/*.log; do
		tail -n 40 "$log" | tr -cd '[:print:]\n' | cut -c 1-300 | sed "s,^,# $(basename "$log"): ,"
	done
}

e2e_main() {
	local prefix=$1 name id why failed=0 status=0 n=0 start
	shift
	local names=("$@")
	[ ${#names[@]} -gt 0 ] || mapfile -t names < <(
		shopt -s extdebug
		for name in $(compgen -A function test_); do declare -F "$name"; done | sort -n -k 2 | sed 's/^test_\([^ ]*\).*/\1/'
	)
	[ "${E2E_KERNEL:-0}" = 1 ] || [ -e "$BUILD/libustack.so" ] || {
		echo "not ok e2e-$prefix there is no $BUILD/libustack.so"
		exit 1
	}
	e2e_setup || {
		for name in "${names[@]}"; do echo "skip e2e-$prefix-${name//_/-} needs root and /dev/net/tun"; done
		exit 0
	}
	for name in "${names[@]}"; do
		n=$((n + 1)) id=e2e-$prefix-${name//_/-} start=$SECONDS
		e2e_one "$name" $n
		if [ $status -eq 0 ] && [ -s "$DIR/skip" ]; then
			echo "skip $id $(cat "$DIR/skip")"
		elif [ $status -eq 0 ]; then
			echo "ok $id"
			[ "${E2E_VERBOSE:-0}" != 1 ] || show_logs
		else
			why=$(cat "$DIR/why" 2>/dev/null || grep -a '^FAIL' "$DIR/test.log" | tail -n 1)
			echo "not ok $id $why ($((SECONDS - start)) s)"
			failed=1
			show_logs
		fi
		rm -rf "$DIR"
	done
	exit $failed
}
