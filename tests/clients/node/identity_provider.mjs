// An OpenID provider (npm oidc-provider) at which a name is enough to log in.
//
// It is started with one argument, JSON:
//   port                  where it listens on 127.0.0.1; its issuer is http://127.0.0.1:<port>
//   resources             the resource URLs (RFC 8707) that it issues tokens for
//   scopes                the scopes that it has for them
//   algorithm             of access tokens: RS256 or ES256
//   access_token_seconds  the lifetime of access tokens
//   refresh_tokens        'offline_access': issued if that scope is requested; 'always'; 'never'
//   services              [{client_id, client_secret}]: clients that get tokens for themselves
//   registered_scopes     false: registrations may name scopes, but do not limit what the client gets
//   gateways              [{client_id, client_secret, redirect_uris}]: clients that are configured.
//                         With any of these, no others can register
//   refuses_resource      true: a request for a resource (RFC 8707) is refused; tokens are for the
//                         first one
//
// It prints a line of JSON once it listens, and one for each token that it issues or refuses.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider, errors } from 'oidc-provider';

const options = {
  algorithm: 'RS256',
  access_token_seconds: 600,
  refresh_tokens: 'offline_access',
  services: [],
  registered_scopes: true,
  gateways: [],
  refuses_resource: false,
  ...JSON.parse(process.argv[2]),
};
const issuer = `http://127.0.0.1:${options.port}`;

// Standard output is for the lines of JSON.
console.info = console.error;

function report(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

function signingKey(algorithm) {
  const { privateKey } =
    algorithm === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: algorithm, alg: algorithm, use: 'sig' };
}

const provider = new Provider(issuer, {
  // ID tokens are signed with RS256 unless a client registers another algorithm.
  jwks: { keys: [...new Set(['RS256', options.algorithm])].map(signingKey) },
  cookies: { keys: ['any text will do'] },
  scopes: ['openid', 'offline_access', ...options.scopes],
  clients: [
    ...options.services.map((service) => ({
      ...service,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    })),
    ...options.gateways.map((gateway) => ({
      ...gateway,
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
    })),
  ],
  async findAccount(_context, id) {
    return { accountId: id, claims: () => ({ sub: id }) };
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    registration: { enabled: options.gateways.length === 0 },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_context, _client, oneOf) =>
        oneOf ?? (options.refuses_resource ? options.resources[0] : undefined),
      useGrantedResource: () => options.refuses_resource,
      async getResourceServerInfo(_context, resource) {
        if (!options.resources.includes(resource)) {
          throw new errors.InvalidTarget();
        }
        return {
          audience: resource,
          scope: options.scopes.join(' '),
          accessTokenTTL: options.access_token_seconds,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: options.algorithm } },
        };
      },
    },
  },
  issueRefreshToken(_context, client, code) {
    return (
      client.grantTypeAllowed('refresh_token') &&
      (options.refresh_tokens === 'always' ||
        (options.refresh_tokens === 'offline_access' && code.scopes.has('offline_access')))
    );
  },
  interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
  clientBasedCORS: () => true,
});

provider.on('grant.success', ({ oidc }) => {
  report({ event: 'token', grant_type: oidc.params.grant_type, resource: oidc.params.resource });
});
for (const name of ['grant.error', 'authorization.error', 'registration_create.error', 'server_error']) {
  provider.on(name, (_context, error) => {
    report({ event: name, error: error.error ?? error.message, description: error.error_description });
  });
}

// Web pages may register: for them the package itself opens all other endpoints.
provider.use(async (context, next) => {
  if (context.path !== '/reg') {
    return next();
  }
  context.set('access-control-allow-origin', '*');
  if (context.method === 'OPTIONS') {
    context.set('access-control-allow-headers', 'content-type');
    context.status = 204;
    return undefined;
  }
  return next();
});

provider.use(async (context, next) => {
  if (!options.registered_scopes && context.path === '/reg' && context.method === 'POST') {
    // RFC 7591, section 2: a server may ignore metadata of a registration.
    const metadata = JSON.parse(await read(context.req));
    delete metadata.scope;
    context.req.body = metadata;
  }
  await next();
});

provider.use(async (context, next) => {
  if (options.refuses_resource && context.path === '/auth' && context.query.resource) {
    report({ event: 'authorization.error', error: 'resource', description: context.query.resource });
    context.status = 400;
    context.body = 'AADSTS9010010: The resource does not match the requested scopes.';
    return undefined;
  }
  return next();
});

// The pages of a login: one form asks for the name, the other for consent.
provider.use(async (context, next) => {
  if (!context.path.startsWith('/interaction/')) {
    return next();
  }
  const interaction = await provider.interactionDetails(context.req, context.res);
  if (context.method === 'GET') {
    context.type = 'html';
    context.body = page(interaction);
    return undefined;
  }
  const form = new URLSearchParams(await read(context.req));
  const result =
    interaction.prompt.name === 'login'
      ? { login: { accountId: form.get('login') } }
      : { consent: { grantId: await consent(interaction) } };
  context.redirect(
    await provider.interactionResult(context.req, context.res, result, {
      mergeWithLastSubmission: true,
    }),
  );
  context.status = 303;
  return undefined;
});

function page({ prompt, params }) {
  const fields =
    prompt.name === 'login'
      ? '<label>Name <input name="login" autofocus required></label>'
      : `<p>Client ${escaped(params.client_id)} asks for: ${escaped(params.scope ?? 'nothing')}</p>`;
  const button = prompt.name === 'login' ? 'Log in' : 'Allow';
  return `<!doctype html><title>${button}</title>
<form method="post">${fields}<button type="submit">${button}</button></form>`;
}

/// Grants everything that was requested and is not granted yet.
async function consent({ grantId, params, prompt: { details }, session }) {
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope((details.missingOIDCScope ?? []).join(' '));
  grant.addOIDCClaims(details.missingOIDCClaims ?? []);
  for (const [resource, scopes] of Object.entries(details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(' '));
  }
  return grant.save();
}

function escaped(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);
}

async function read(request) {
  const chunks = await Array.fromAsync(request);
  return Buffer.concat(chunks).toString();
}

const server = createServer(provider.callback());
// The test keeps the port reserved.
server.listen({ host: '127.0.0.1', port: options.port, reusePort: true }, () => {
  report({ event: 'listening', issuer });
});
