#!/bin/bash
# A page fetched by curl through the stack, from a web server on the kernel's stack. `make demo` runs this.
set -euo pipefail
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"

[ "$(id -u)" -eq 0 ] || exec sudo --preserve-env=BUILD "$0" "$@"
n=0
e2e_setup || { echo "demo: needs root and /dev/net/tun" >&2; exit 1; }
DIR=$E2E_DIR/demo
mkdir "$DIR"
device_up demo
cd "$DIR"

mkdir www
cat >www/index.html <<'END'
<html><body><h1>It works</h1>
This page came from a web server on the kernel's TCP, across a TAP device, through the TCP of libustack.so,
to a curl that knows nothing of either.
</body></html>
END
peer_start server /usr/bin/python3 -m http.server --bind "$PEER" -d www 80
wait_peer 80

cat <<END
A web server runs on the kernel's stack at $PEER. curl runs in a namespace that has no network at all:

$(nsenter --net="/run/netns/$APP_NS" ip -br link)

\$ LD_PRELOAD=libustack.so USTACK_DEVICE=tap:$TAP@$PEER_NS USTACK_ADDRESS=$APP/24 curl -i http://$PEER/

END
if ! app curl -sS --fail --max-time 30 -i "http://$PEER/" >page; then
	cat page
	echo "demo: curl did not get the page" >&2
	exit 1
fi
cat page
grep -q 'It works' page
assert_no_kernel_sockets
read -r from to < <(frames)
echo
echo "$from frames came from the stack and $to went to it; the kernel of curl's namespace saw no socket."
device_down
