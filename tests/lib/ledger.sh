# shellcheck shell=bash
# Tables that say which test shows what: `| id | meaning | tests |`, compared with a file of results. For tests/*/verify.

failed=0

# report ID WHAT: ok if there is nothing to say.
report() {
	if [ -z "$2" ]; then
		echo "ok $1"
	else
		echo "not ok $1 $(head -n 20 <<<"$2" | tr '\n' ';')"
		# shellcheck disable=SC2034 # the caller exits with it
		failed=1
	fi
}

# Rows whose id begins with the prefix, as `id|the other columns`.
ledger_rows() {
	sed -n "s/^| \($2[^ ]*\) | \(.*\) |\$/\1|\2/p" "$1"
}

# Of the ids on stdin, those that have no row.
ledger_without_row() {
	local id
	while read -r id; do
		grep -q "^| $id |" "$1" || echo "$id has no row"
	done
}

# The ids of tests in a row: words with a dash in them that look like one, outside of parenthesised prose all the same.
ledger_tests() {
	grep -oE '\b(wire|tcp|udp|ip|icmp|arp|route|reasm|netif|opt|port|tapio|sim|e2e|copy|fdtable|[A-M][0-9]+)-[a-z0-9][a-z0-9-]*' <<<"$1" || true
}

# Of the rows on stdin, those that name no test.
ledger_without_test() {
	local id tests
	while IFS='|' read -r id tests; do
		[ -n "$(ledger_tests "$tests")" ] || echo "$id: $tests"
	done
}

# Of the rows on stdin, those with a test that has not passed (a skip has its reason elsewhere), and those that are neither shown nor explained.
ledger_not_shown() {
	local id tests name
	while IFS='|' read -r id tests; do
		for name in $(ledger_tests "$tests"); do
			grep -qE "^(ok|skip) $name( |\$)" "$1" || echo "$id: $name has not passed"
		done
		[ -n "$(ledger_tests "$tests")" ] || [[ $tests =~ (deviation|'not done'|'not applicable') ]] || echo "$id is not shown"
	done
}
