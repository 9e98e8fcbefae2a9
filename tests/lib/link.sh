# shellcheck shell=bash
# `ustack link` between the program and the peer's kernel:
#
#   program -- TAP x (bridge) TAP y -- ustack link -- TAP z -- the peer's kernel

# link_up OPTION ...: the peer's address moves from the program's TAP to the far end of the link. LINK_WITH is put before the command.
LINK_WITH=()
link_up() {
	ip -n "$PEER_NS" addr flush dev "$TAP"
	ip -n "$PEER_NS" link add br0 type bridge
	# The address is reached through the link alone: the bridge does not answer for it.
	nsenter --net="/run/netns/$PEER_NS" sysctl -qw net.ipv4.conf.br0.arp_ignore=1
	ip -n "$PEER_NS" tuntap add mode tap name "${TAP}y"
	ip -n "$PEER_NS" tuntap add mode tap name "${TAP}z"
	ip -n "$PEER_NS" link set "$TAP" master br0
	ip -n "$PEER_NS" link set "${TAP}y" master br0
	ip -n "$PEER_NS" link set br0 up
	ip -n "$PEER_NS" link set "${TAP}y" up
	ip -n "$PEER_NS" addr add "$PEER/24" dev "${TAP}z"
	ip -n "$PEER_NS" link set "${TAP}z" up
	peer_start link "${LINK_WITH[@]}" "$BUILD/ustack" link "${TAP}y" "${TAP}z" "$@"
	retry 10 grep -qs joined "$DIR/link.log"
}
link_down() {
	kill "${PID[link]}" 2>/dev/null || true
	ended link || true
	ip -n "$PEER_NS" link del br0
	ip -n "$PEER_NS" link del "${TAP}y"
	ip -n "$PEER_NS" link del "${TAP}z"
}
