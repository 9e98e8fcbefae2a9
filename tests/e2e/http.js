// An HTTP server that answers with the hash and length of what it was sent, and a client that checks it with
// 40 requests at a time over kept connections: node http.js server|client ADDRESS PORT
'use strict';
const crypto = require('crypto');
const http = require('http');
const [what, host, port] = process.argv.slice(2);
const hash = (data) => crypto.createHash('sha256').update(data).digest('hex');

if (what === 'server') {
	http.createServer((request, response) => {
		const sum = crypto.createHash('sha256');
		request.on('data', (data) => sum.update(data));
		request.on('end', () => response.end(sum.digest('hex') + 'x'.repeat(100000)));
	}).listen(port, host);
} else {
	const agent = new http.Agent({ keepAlive: true, maxSockets: 40 });
	const one = (i) => new Promise((resolve, reject) => {
		const body = crypto.createHash('sha512').update(String(i)).digest().toString('hex').repeat(500 + 10 * i);
		const request = http.request({ host, port, agent, method: 'POST', path: '/' + i }, (response) => {
			const parts = [];
			response.on('data', (data) => parts.push(data));
			response.on('end', () => {
				const text = Buffer.concat(parts).toString();
				resolve(text.length === 100064 && text.slice(0, 64) === hash(body) ? 1 : 0);
			});
		});
		request.on('error', reject);
		request.end(body);
	});
	Promise.all([...Array(200).keys()].map(one)).then((done) => {
		console.log(done.reduce((a, b) => a + b) + ' of 200');
		agent.destroy();
	}, (error) => {
		console.log(String(error));
		process.exit(1);
	});
}
