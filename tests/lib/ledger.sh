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

# The tests of a row are the words with a dash in them that look like the id of one, outside of parenthesised prose all the same.
# shellcheck disable=SC2016 # the dollars are awk's
ledger_words='
	function tests_of(row, found,   word, words, n, i) {
		n = 0
		words = split(row, word, /[^A-Za-z0-9-]+/)
		for (i = 1; i <= words; i++)
			if (word[i] ~ /^(wire|tcp|udp|ip|icmp|arp|route|reasm|netif|opt|port|tapio|sim|e2e|copy|fdtable|[A-M][0-9]+)-[a-z0-9][a-z0-9-]*$/)
				found[++n] = word[i]
		return n
	}
	{ id = $1; row = substr($0, length(id) + 2) }'

# Of the rows on stdin, those that name no test.
ledger_without_test() {
	awk -F'|' "$ledger_words"' !tests_of(row, found) { print id ": " row }'
}

# Of the rows on stdin, those with a test that has not passed (a skip has its reason elsewhere), and those that are neither shown nor explained.
ledger_not_shown() {
	awk -F'|' -v results="$1" '
		BEGIN {
			while ((getline line <results) > 0) {
				split(line, part, " ")
				if (part[1] == "ok" || part[1] == "skip")
					passed[part[2]] = 1
			}
		}'"$ledger_words"'
		{
			n = tests_of(row, found)
			for (i = 1; i <= n; i++)
				if (!(found[i] in passed))
					print id ": " found[i] " has not passed"
			if (!n && row !~ /deviation|not done|not applicable/)
				print id " is not shown"
		}'
}
