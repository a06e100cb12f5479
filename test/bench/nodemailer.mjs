/*
 * nodemailer.mjs
 *	  The usual way in Node: a job per recipient, nodemailer with a pool.
 *
 *	node nodemailer.mjs DIR DATABASE SOCKETS PORT MAILS SESSIONS
 *
 * DIR has text and html (Mustache).  The jobs are queued in one transaction on
 * the same PostgreSQL; prints the seconds from its commit to the last mail.
 * The settings are graphile-worker's own for throughput: a local queue, and
 * jobs completed in batches.
 *
 * Copyright (c) 2026, the mailman authors
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_ROOT + "/");
const { Logger, run } = require("graphile-worker");
const Mustache = require("mustache");
const nodemailer = require("nodemailer");
const pg = require("pg");

const [dir, database, sockets, port, mails, sessions] = process.argv.slice(2);
const text = readFileSync(`${dir}/text`, "utf8");
const html = readFileSync(`${dir}/html`, "utf8");
const total = Number(mails);

const pool = new pg.Pool({ host: sockets, database, user: "postgres", max: 20 });
pool.on("error", console.error);
pool.on("connect", (client) => client.on("error", console.error));
const mailer = nodemailer.createTransport({
	host: "127.0.0.1",
	port: Number(port),
	secure: false,
	ignoreTLS: true,
	pool: true,
	maxConnections: Number(sessions),
	maxMessages: Infinity,
});

let sent = 0;
let finished;
const allSent = new Promise((resolve) => { finished = resolve; });

async function send(reader) {
	await mailer.sendMail({
		from: { name: "The gardener", address: "garden@example.com" },
		to: { name: reader.name, address: reader.email },
		subject: Mustache.render("Spring has come, {{{name}}}", reader),
		text: Mustache.render(text, reader, {}, { escape: (s) => s }),
		html: Mustache.render(html, reader),
	});
	if (++sent === total)
		finished();
}

const quiet = { error: console.error, warn() {}, info() {}, debug() {} };
const runner = await run({
	pgPool: pool,
	taskList: { send },
	noHandleSignals: true,
	logger: new Logger(() => (level, message) => (quiet[level] || quiet.debug)(message)),
	preset: {
		worker: {
			concurrentJobs: 2 * Number(sessions),
			localQueue: { size: 500 },
			completeJobBatchDelay: 0,
			failJobBatchDelay: 0,
		},
	},
});

/* One mail first, so that everything is loaded, and the session is open */
await mailer.verify();
await pool.query(
	`SELECT graphile_worker.add_job('send', json_build_object(
		'email', 'reader' || i || '@example.org', 'name', 'Reader ' || i,
		'unsubscribe_url', 'https://example.com/u/' || md5(i::text),
		'data', json_build_object('plot', i, 'city', 'Porto', 'flower',
			(ARRAY['tulip', 'sunflower', 'daisy'])[i % 3 + 1])))
	FROM generate_series(1, $1::int) i`, [total]);
const start = process.hrtime.bigint();
await allSent;
console.log(Number(process.hrtime.bigint() - start) / 1e9);
await runner.stop();
mailer.close();
await pool.end();
process.exit(0);
