"""A person with a browser: follows an authorization URL, consents on the pages, logs
in, and ends where the client gets the code."""

import re
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar, DefaultCookiePolicy


class Person:
    """A browser, which keeps its cookies, and the name of its user."""

    def __init__(self, name):
        self._name = name
        cookies = urllib.request.HTTPCookieProcessor(CookieJar(DefaultCookiePolicy()))
        no_proxy = urllib.request.ProxyHandler({})
        self._browser = urllib.request.build_opener(cookies, no_proxy, _NoRedirects())

    def authorize(self, authorization_url, redirect_url):
        """The parameters with which the provider sends the browser back."""
        url, form = authorization_url, None
        for _ in range(20):
            with self._open(url, form) as response:
                text = response.read().decode()
            location = response.headers.get("location")
            if location:
                url, form = urllib.parse.urljoin(url, location), None
                if url.startswith(redirect_url):
                    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
            elif response.status == 200:
                form = self._fill(text)
                action = re.search(r'<form[^>]* action="([^"]*)"', text)
                url = urllib.parse.urljoin(url, action[1]) if action else url
            else:
                raise RuntimeError(f"{url}: {response.status} {text}")
        raise RuntimeError(f"no way from {authorization_url} to {redirect_url}")

    def _fill(self, text):
        """The form that is sent when the first button of a page is pressed."""
        form = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', text))
        form.update(re.findall(r'<button name="([^"]*)" value="([^"]*)"', text)[:1])
        return {**form, "login": self._name} if 'name="login"' in text else form

    def _open(self, url, form):
        body = None if form is None else urllib.parse.urlencode(form).encode()
        headers = {
            "Sec-Fetch-Dest": "document",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Site": "none" if form is None else "same-origin",
        }
        if form is not None:
            headers["Origin"] = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(url))
        try:
            return self._browser.open(urllib.request.Request(url, data=body, headers=headers))
        except urllib.error.HTTPError as response:
            return response


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None
