# shellcheck shell=bash
# Library of the tests that run threaded and forking programs, and the library under them, in a sanitizer's build
# (`make check-build` makes these): every report fails the test, and so does the death of the keeper, which is of that build too.
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/e2e.sh"

# sanitized FOLDER OPTIONS PROGRAM ARGUMENT ...: output in $DIR/out.
sanitized() {
	local build=$BUILD/$1 options=$2 program=$3 pid keeper="" status=0
	shift 3
	[ -e "$build/libustack.so" ] || fail "there is no $build/libustack.so: make check-build"
	APP_ENV[0]="LD_PRELOAD=$build/libustack.so"
	APP_ENV+=("$options")
	timeout 20 nsenter --net="/run/netns/$APP_NS" env "${APP_ENV[@]:1}" "$build/ustack" up
	for pid in $(ip netns pids "$APP_NS"); do
		[ "$(cat "/proc/$pid/comm")" != ustack-keeper ] || keeper=$pid
	done
	peer_start peer "$BUILD/tests/diff/calls_peer" 7777
	wait_peer 7777
	E2E_TIMEOUT=$(($(size 60 600))) app "$build/tests/e2e/$program" "$@" >out 2>report.log || status=$?
	grep -aE 'SUMMARY|runtime error' report.log | sort | uniq -c | head -n 5 >why.txt || true
	[ ! -s why.txt ] || fail "$(tr '\n' ' ' <why.txt)"
	[ $status -eq 0 ] || fail "status $status: $(tail -n 1 out)"
	[ -n "$keeper" ] && kill -0 "$keeper" || fail "the keeper has died"
}
