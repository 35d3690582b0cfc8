// The official conformance suite, against an MCP server or an authorization server.
//
// It is started with one argument, JSON:
//   url        the MCP endpoint, or the issuer
//   revision   the revision of MCP whose scenarios it runs
//   scenario   the only one of these that it runs; all, if it is absent
//   login      for an authorization server: who logs in. An object: person, client_id, resource, and
//              port, of the redirect URI http://127.0.0.1:<port>/callback of the client
//
// When it ends, it prints a line of JSON for each check: {scenario, check, status, error}.
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Person } from './person.mjs';

const { url, revision, scenario, login } = JSON.parse(process.argv[2]);
const results = mkdtempSync(join(tmpdir(), 'mcp-federated-auth-conformance-'));

// Standard output is for the lines of JSON. The suite prints the URL that a person has to visit.
console.log = (...texts) => {
  console.error(...texts);
  if (login && String(texts[0]).startsWith('http')) {
    visit(texts[0]);
  }
};

async function visit(authorizationUrl) {
  const redirectUrl = `http://127.0.0.1:${login.port}/callback`;
  const callback = await new Person(login.person).authorize(authorizationUrl, redirectUrl);
  await fetch(callback);
}

// The suite's program ends the process itself, with a failure if a check fails. The reader judges
// which of them may fail.
process.on('exit', () => {
  for (const folder of readdirSync(results).sort()) {
    // server-<scenario>-<time>, or authorization-server-<scenario>-<time>
    const scenario = folder.replace(/^(authorization-)?server-/, '').replace(/-\d{4}-\d\d-\d\dT.*$/, '');
    const checks = JSON.parse(readFileSync(join(results, folder, 'checks.json')));
    for (const { id, status, errorMessage } of checks) {
      writeSync(1, `${JSON.stringify({ scenario, check: id, status, error: errorMessage })}\n`);
    }
  }
  rmSync(results, { recursive: true });
  process.exitCode = 0;
});

// A scenario of an extension runs for no revision unless it is forced.
const which = scenario ? ['--scenario', scenario, '--force'] : ['--suite', 'all'];
const asServer = ['server', '--url', url, ...which];
const asAuthorizationServer = login && [
  'authorization', '--url', url, '--client-id', login.client_id, '--resource', login.resource,
  '--port', login.port,
];
const run = [...(asAuthorizationServer ?? asServer), '--spec-version', revision, '-o', results];
process.argv.splice(2, Infinity, ...run);
await import('./node_modules/@modelcontextprotocol/conformance/dist/index.js');
