// A person with a real browser, headless Chromium, on a web page that is an MCP client.
//
// It is started with one argument, JSON:
//   url       the MCP endpoint
//   port      where the page is served: http://localhost:<port>
//   person    the name of the user who logs in
//   chromium  the browser's program
//
// It prints lines of JSON: each exchange of the browser, and the outcome of the page.
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { launch } from './chromium.mjs';

const options = JSON.parse(process.argv[2]);

function report(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

/// The page with the official SDK in it, built as any web application would be.
async function bundle() {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('browser_page.mjs', import.meta.url))],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    write: false,
  });
  return outputFiles[0].text;
}

const script = await bundle();
const server = createServer((request, response) => {
  const isScript = request.url === '/page.js';
  response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
  response.end(isScript ? script : '<!doctype html><script type="module" src="/page.js"></script>');
});
// The test keeps the port reserved.
server.listen({ host: '127.0.0.1', port: options.port, reusePort: true });

const browser = await launch(options.chromium);
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(45_000);
  page.on('console', (message) => console.error(message.text()));
  page.on('pageerror', (error) => console.error(error));
  page.on('response', (response) =>
    report({
      event: 'exchange',
      method: response.request().method(),
      url: response.url(),
      grant_type: new URLSearchParams(response.request().postData() ?? '').get('grant_type') ?? undefined,
      status: response.status(),
    }),
  );
  page.on('requestfailed', (request) => {
    // A request whose response the page does not read to the end is aborted. The browser blocked
    // the others.
    if (request.failure().errorText !== 'net::ERR_ABORTED') {
      report({ event: 'blocked', method: request.method(), url: request.url() });
    }
  });
  await page.goto(`http://localhost:${options.port}/?url=${encodeURIComponent(options.url)}`);
  const outcome = page.waitForFunction(() => globalThis.outcome);
  await Promise.race([outcome, logIn(page)]);
  report({ step: 'whoami', ...(await (await outcome).jsonValue()) });
} finally {
  await browser.close();
  server.close();
}

/// The person enters a name and consents.
async function logIn(page) {
  await page.fill('input[name="login"]', options.person);
  await page.click('button');
  await page.click('button:text("Allow")');
  // The page does the rest.
  await new Promise(() => {});
}
