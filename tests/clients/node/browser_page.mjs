// A web page that is an MCP client, made with the official SDK for TypeScript. It knows only the
// URL of an endpoint; between its visits to the provider it keeps its state in the storage of the
// page.
//
// Its result is in `outcome`: {event: 'done', result}, or {event: 'failed', error}.
import {
  Client,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from '@modelcontextprotocol/client';

const visit = new URLSearchParams(location.search);

function remember(name, value) {
  sessionStorage.setItem(name, JSON.stringify(value));
}

function recall(name) {
  return JSON.parse(sessionStorage.getItem(name)) ?? undefined;
}

const authProvider = {
  redirectUrl: `${location.origin}/callback`,
  clientMetadata: {
    client_name: 'A page',
    redirect_uris: [`${location.origin}/callback`],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  },
  clientInformation: () => recall('client'),
  saveClientInformation: (client) => remember('client', client),
  tokens: () => recall('tokens'),
  saveTokens: (tokens) => remember('tokens', tokens),
  codeVerifier: () => recall('verifier'),
  saveCodeVerifier: (verifier) => remember('verifier', verifier),
  discoveryState: () => recall('discovery'),
  saveDiscoveryState: (discovery) => remember('discovery', discovery),
  redirectToAuthorization: (url) => location.assign(url),
};

if (visit.has('url')) {
  remember('url', visit.get('url'));
}
const transport = new StreamableHTTPClientTransport(new URL(recall('url')), { authProvider });
const client = new Client({ name: 'page', version: '1.0.0' });

try {
  if (location.pathname === '/callback') {
    await transport.finishAuth(visit);
  }
  await client.connect(transport);
  globalThis.outcome = { event: 'done', result: await client.callTool({ name: 'whoami' }) };
} catch (error) {
  // The first visit ends here: the browser is on its way to the provider.
  if (!(error instanceof UnauthorizedError && visit.has('url'))) {
    globalThis.outcome = { event: 'failed', error: `${error}` };
  }
}
