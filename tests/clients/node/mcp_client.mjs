// An MCP client made with an official SDK for TypeScript, which knows only a URL.
//
// It is started with one argument, JSON:
//   sdk                   'v1' or 'v2'
//   url                   the MCP endpoint
//   steps                 what it does once it is connected: {tool, arguments}; {listen: true}, which
//                         opens the server's own stream; {list: true}, which lists the tools; or
//                         {until_expired: true}, which waits until its access token has expired
//   person                the name of the user who logs in
//   grant_types           the grant types that it registers for
//   authorization_server  the issuer to log in at, where the user chose it; else the SDK chooses
//   service               {client_id, client_secret, issuer, scope}: it logs in as a service
//   protocol              v2 only: 'legacy' (the SDK's default) or 'auto'
//
// It prints lines of JSON: each HTTP exchange, each authorization that the SDK asked the person
// for, what the server sent, and how each step ended.
import { Person } from './person.mjs';

const options = {
  person: 'ada',
  grant_types: ['authorization_code', 'refresh_token'],
  protocol: 'legacy',
  steps: [],
  ...JSON.parse(process.argv[2]),
};

function report(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

const sdk = await (options.sdk === 'v1' ? version1() : version2());

async function version1() {
  const [client, http, auth, extensions, types] = await Promise.all([
    import('@modelcontextprotocol/sdk/client/index.js'),
    import('@modelcontextprotocol/sdk/client/streamableHttp.js'),
    import('@modelcontextprotocol/sdk/client/auth.js'),
    import('@modelcontextprotocol/sdk/client/auth-extensions.js'),
    import('@modelcontextprotocol/sdk/types.js'),
  ]);
  return {
    ...client,
    ...http,
    ...auth,
    ...extensions,
    call: (own, params, requestOptions) => own.callTool(params, undefined, requestOptions),
    onMessage: (own, handler) =>
      own.setNotificationHandler(types.LoggingMessageNotificationSchema, handler),
    onToolsChanged: () => {},
    callback: (url) => url.searchParams.get('code'),
  };
}

async function version2() {
  const client = await import('@modelcontextprotocol/client');
  return {
    ...client,
    call: (own, params, requestOptions) => own.callTool(params, requestOptions),
    onMessage: (own, handler) => own.setNotificationHandler('notifications/message', handler),
    onToolsChanged: (own, handler) =>
      own.setNotificationHandler('notifications/tools/list_changed', handler),
    callback: (url) => url.searchParams,
  };
}

/// The interface that the SDK requires of an application with a user: to keep state, and to open a
/// browser.
class UserAtTheBrowser {
  redirectUrl = 'http://127.0.0.1:33418/callback';
  callback;
  #person = new Person(options.person);
  #remembered = {};

  get clientMetadata() {
    return {
      client_name: `TypeScript SDK ${options.sdk}`,
      redirect_uris: [this.redirectUrl],
      grant_types: options.grant_types,
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    };
  }

  state() {
    return crypto.randomUUID();
  }

  clientInformation() {
    return this.#remembered.client;
  }

  saveClientInformation(client) {
    this.#remembered.client = client;
  }

  tokens() {
    return this.#remembered.tokens;
  }

  saveTokens(tokens) {
    this.#remembered.tokens = tokens;
  }

  codeVerifier() {
    return this.#remembered.verifier;
  }

  saveCodeVerifier(verifier) {
    this.#remembered.verifier = verifier;
  }

  discoveryState() {
    const chosen = options.authorization_server;
    return this.#remembered.discovery ?? (chosen && { authorizationServerUrl: chosen });
  }

  saveDiscoveryState(discovery) {
    this.#remembered.discovery = discovery;
  }

  async redirectToAuthorization(url) {
    const asked = Object.fromEntries(url.searchParams);
    report({ event: 'authorization', scope: asked.scope, resource: asked.resource });
    this.callback = await this.#person.authorize(url, this.redirectUrl);
    const { searchParams } = this.callback;
    if (searchParams.has('error')) {
      throw new Error(`${searchParams.get('error')}: ${searchParams.get('error_description')}`);
    }
  }
}

function authProvider() {
  const { service } = options;
  if (!service) {
    return new UserAtTheBrowser();
  }
  return new sdk.ClientCredentialsProvider({
    clientId: service.client_id,
    clientSecret: service.client_secret,
    expectedIssuer: service.issuer,
    scope: service.scope ?? undefined,
  });
}

async function observedFetch(url, init) {
  const response = await fetch(url, init);
  report({
    event: 'exchange',
    method: init?.method ?? 'GET',
    url: String(url),
    grant_type: init?.body instanceof URLSearchParams ? init.body.get('grant_type') : undefined,
    status: response.status,
  });
  if (init?.method === 'GET' && String(url) === options.url && response.ok) {
    streamIsOpen.resolve();
  }
  return response;
}

const provider = authProvider();
const streamIsOpen = Promise.withResolvers();
let announcements = 0;
let client;
let transport;

async function connect() {
  client = new sdk.Client(
    { name: `typescript-${options.sdk}`, version: '1.0.0' },
    options.sdk === 'v2' ? { versionNegotiation: { mode: options.protocol } } : {},
  );
  sdk.onMessage(client, ({ params }) => saw('announcement', params.data));
  sdk.onToolsChanged(client, () => saw('announcement', (announcements += 1)));
  transport = new sdk.StreamableHTTPClientTransport(new URL(options.url), {
    authProvider: provider,
    fetch: observedFetch,
  });
  await client.connect(transport);
  return { protocol: transport.protocolVersion ?? client.getNegotiatedProtocolVersion?.() };
}

/// Reports to the server that this event arrived, so that the server makes the next one.
async function saw(kind, number) {
  report({ event: kind, number });
  await sdk.call(client, { name: 'seen', arguments: { kind, number } });
}

async function take(step) {
  if (step.until_expired) {
    const [, claims] = provider.tokens().access_token.split('.');
    const { exp } = JSON.parse(Buffer.from(claims, 'base64url').toString());
    while (Date.now() < exp * 1000) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return {};
  }
  if (step.listen) {
    await (client.getProtocolEra?.() === 'modern'
      ? client.listen({ toolsListChanged: true })
      : streamIsOpen.promise);
    return {};
  }
  if (step.list) {
    const { tools } = await client.listTools();
    return tools.map(({ name }) => name);
  }
  return sdk.call(
    client,
    { name: step.tool, arguments: step.arguments ?? {} },
    { onprogress: ({ progress }) => saw('progress', progress), timeout: 30_000 },
  );
}

/// Runs a step. If the SDK sent the person to the provider, its documentation requires the
/// application to hand over the code and try again: this does so, and counts the attempts.
async function attempt(name, act) {
  for (let attempts = 1; ; attempts += 1) {
    try {
      report({ event: 'done', step: name, attempts, result: await act() });
      return true;
    } catch (error) {
      const { callback } = provider;
      if (error instanceof sdk.UnauthorizedError && callback) {
        provider.callback = undefined;
        await transport.finishAuth(sdk.callback(callback));
      } else {
        report({ event: 'failed', step: name, attempts, error: `${error.name}: ${error.message}` });
        return false;
      }
    }
  }
}

if (await attempt('connect', connect)) {
  for (const step of options.steps) {
    await attempt(step.tool ?? Object.keys(step)[0], () => take(step));
  }
}
await client.close();
