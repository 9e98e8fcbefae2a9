// node's cluster, for tests/e2e/passing: an HTTP server whose workers get connections from the primary ("rr"), or its listener ("none").
// cluster.js rr|none ADDRESS PORT
const cluster = require('cluster');
const http = require('http');
const [policy, address, port] = process.argv.slice(2);

if (cluster.isPrimary) {
	cluster.schedulingPolicy = policy === 'rr' ? cluster.SCHED_RR : cluster.SCHED_NONE;
	for (let i = 0; i < 3; i++)
		cluster.fork();
} else {
	http.createServer((request, response) => {
		response.end(`${cluster.worker.id} ${request.url}\n`);
	}).listen(Number(port), address);
}
