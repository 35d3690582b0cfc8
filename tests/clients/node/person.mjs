// A person with a browser: follows an authorization URL, consents on the pages, logs in, and ends
// where the client receives the code.
import { request } from 'node:http';

/// A browser, which keeps its cookies, and the name of its user.
export class Person {
  #name;
  #cookies = new Map();

  constructor(name) {
    this.#name = name;
  }

  /// The URL to which the provider sends the browser back, with the code.
  async authorize(authorizationUrl, redirectUrl) {
    let url = new URL(authorizationUrl);
    let form;
    for (let steps = 0; steps < 20; steps += 1) {
      const { status, location, text } = await this.#open(url, form);
      if (location) {
        url = new URL(location, url);
        form = undefined;
        if (url.href.startsWith(redirectUrl)) {
          return url;
        }
      } else if (status === 200) {
        form = this.#fill(text);
        const action = /<form[^>]* action="([^"]*)"/.exec(text);
        url = action ? new URL(action[1], url) : url;
      } else {
        throw new Error(`${url}: ${status} ${text}`);
      }
    }
    throw new Error(`no way from ${authorizationUrl} to ${redirectUrl}`);
  }

  /// The form that is sent when the first button of a page is pressed.
  #fill(text) {
    const fields = [...text.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)];
    const button = /<button name="([^"]*)" value="([^"]*)"/.exec(text);
    const form = Object.fromEntries([...fields, ...(button ? [button] : [])].map(([, ...own]) => own));
    return text.includes('name="login"') ? { ...form, login: this.#name } : form;
  }

  /// Sends the fetch metadata of a browser, which `fetch` would not.
  async #open(url, form) {
    const body = form && new URLSearchParams(form).toString();
    const headers = {
      cookie: [...(this.#cookies.get(url.host) ?? [])].map(([name, value]) => `${name}=${value}`).join('; '),
      'sec-fetch-dest': 'document',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-site': form ? 'same-origin' : 'none',
      ...(form && {
        'content-type': 'application/x-www-form-urlencoded',
        'content-length': body.length,
        origin: url.origin,
      }),
    };
    const response = await new Promise((resolve, reject) => {
      const sent = request(url, { method: form ? 'POST' : 'GET', headers, agent: false }, resolve);
      sent.on('error', reject);
      sent.end(body);
    });
    const chunks = await Array.fromAsync(response);
    for (const cookie of response.headers['set-cookie'] ?? []) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
      this.#cookies.set(url.host, (this.#cookies.get(url.host) ?? new Map()).set(name, value));
    }
    return {
      status: response.statusCode,
      location: response.headers.location,
      text: Buffer.concat(chunks).toString(),
    };
  }
}
