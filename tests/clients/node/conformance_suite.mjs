// The official conformance suite, against a server.
//
// It is started with one argument, JSON:
//   url        the MCP endpoint
//   revision   the revision of MCP whose scenarios it runs
//   scenario   the only one of these that it runs; all, if it is absent
//
// When it ends, it prints a line of JSON for each check: {scenario, check, status, error}.
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const { url, revision, scenario } = JSON.parse(process.argv[2]);
const results = mkdtempSync(join(tmpdir(), 'mcp-federated-auth-conformance-'));

// Standard output is for the lines of JSON.
console.log = console.error;

// The suite's program ends the process itself, as a failure where a check fails: which of them do is
// for the reader to judge.
process.on('exit', () => {
  for (const folder of readdirSync(results).sort()) {
    // server-<scenario>-<time>
    const scenario = folder.replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT.*$/, '');
    const checks = JSON.parse(readFileSync(join(results, folder, 'checks.json')));
    for (const { id, status, errorMessage } of checks) {
      writeSync(1, `${JSON.stringify({ scenario, check: id, status, error: errorMessage })}\n`);
    }
  }
  rmSync(results, { recursive: true });
  process.exitCode = 0;
});

// One that belongs to an extension runs for no revision unless it is forced to.
const which = scenario ? ['--scenario', scenario, '--force'] : ['--suite', 'all'];
const run = ['server', '--url', url, ...which, '--spec-version', revision, '-o', results];
process.argv.splice(2, Infinity, ...run);
await import('./node_modules/@modelcontextprotocol/conformance/dist/index.js');
