// What a person with a browser does: follows an authorization URL, logs in, consents, and ends
// where the client is told the code.

/// A browser, which keeps its cookies, and the name of who sits before it.
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
      const response = await this.#open(url, form);
      const location = response.headers.get('location');
      const text = await response.text();
      if (location) {
        url = new URL(location, url);
        form = undefined;
        if (url.href.startsWith(redirectUrl)) {
          return url;
        }
      } else if (response.ok) {
        form = text.includes('name="login"') ? { login: this.#name } : {};
      } else {
        throw new Error(`${url}: ${response.status} ${text}`);
      }
    }
    throw new Error(`no way from ${authorizationUrl} to ${redirectUrl}`);
  }

  async #open(url, form) {
    const response = await fetch(url, {
      method: form ? 'POST' : 'GET',
      body: form && new URLSearchParams(form),
      headers: { cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
      redirect: 'manual',
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
      this.#cookies.set(name, value);
    }
    return response;
  }
}
