use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderMap;
use reqwest::Client;
use reqwest::redirect::Policy;

/// A browser as far as a login needs one: it keeps cookies for each host, follows redirects, and
/// reports with each request where it comes from (Fetch Metadata). It opens only known sites, and
/// stops at others.
#[derive(Clone, Debug)]
pub struct LoginBrowser {
    client: Client,
    /// Origins, and where they are.
    sites: BTreeMap<String, SocketAddr>,
    /// By host, then by name.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether it says where its requests come from.
    has_fetch_metadata: bool,
}

/// Where a browser ended up.
#[derive(Clone, Debug)]
pub struct SeenLogin {
    /// The URL in its address bar.
    pub url: String,
    /// `None` if it does not know the site.
    pub status: Option<u16>,
    /// The headers of the response.
    pub headers: HeaderMap,
    /// The page.
    pub text: String,
    /// All URLs on the way there, this one included.
    pub way: Vec<String>,
}

/// A request of a browser.
struct Navigation<'a> {
    url: String,
    form: Option<String>,
    /// The origin of the page that it comes from; `None` if the person typed it in.
    from: Option<&'a str>,
    /// The value of `Origin`; `None` if it is not sent.
    origin: Option<String>,
}

impl LoginBrowser {
    /// A new browser, which knows these sites: origins, and where they are.
    pub fn new(sites: impl IntoIterator<Item = (String, SocketAddr)>) -> Self {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(60))
            .build()
            .expect("the client has nothing to object to");
        let sites = sites.into_iter().collect();
        Self { client, sites, cookies: BTreeMap::new(), has_fetch_metadata: true }
    }

    /// A browser that is so old that it sends only `Origin`.
    pub fn without_fetch_metadata(mut self) -> Self {
        self.has_fetch_metadata = false;
        self
    }

    /// The same browser, with its cookies, where these are the sites.
    pub fn at(&self, sites: impl IntoIterator<Item = (String, SocketAddr)>) -> Self {
        Self { sites: sites.into_iter().collect(), ..self.clone() }
    }

    /// Opens a URL as if the person had typed it in, or as an app on the machine does.
    pub async fn open(&mut self, url: &str) -> SeenLogin {
        self.go(Navigation { url: url.to_owned(), form: None, from: None, origin: None }).await
    }

    /// Opens a URL to which a page of this origin leads.
    pub async fn follow(&mut self, url: &str, from: &str) -> SeenLogin {
        let navigation =
            Navigation { url: url.to_owned(), form: None, from: Some(from), origin: None };
        self.go(navigation).await
    }

    /// Presses the button of this name and value on a page, whose only form has one hidden field.
    ///
    /// # Panics
    ///
    /// If the page has no such form or button.
    pub async fn press(&mut self, page: &SeenLogin, name: &str, value: &str) -> SeenLogin {
        let button = format!("<button name=\"{name}\" value=\"{value}\"");
        let has_button = page.text.contains(&button)
            || page.text.contains(&format!("name=\"{name}\" value=\"{value}\""));
        assert!(has_button, "no {button} on {page:?}");
        let form = testkit::form_of(&[("request", &page.sealed_request()), (name, value)]);
        let from = origin_of(&page.url).to_owned();
        self.submit(page, &form, &from).await
    }

    /// Sends a form that a page of this origin has to the form's address on `page`.
    pub async fn submit(&mut self, page: &SeenLogin, form: &str, from: &str) -> SeenLogin {
        let action = page.between("action=\"", "\"");
        let action = action.unwrap_or_else(|| panic!("no form on {page:?}"));
        let url = format!("{}{action}", origin_of(&page.url));
        // What a page with this policy sends (Fetch, "append a request `Origin` header").
        let hides_origin = page.header("referrer-policy") == "no-referrer";
        let origin = if hides_origin { "null".to_owned() } else { from.to_owned() };
        let navigation =
            Navigation { url, form: Some(form.to_owned()), from: Some(from), origin: Some(origin) };
        self.go(navigation).await
    }

    /// Its cookies for a host.
    pub fn cookies(&self, host: &str) -> BTreeMap<String, String> {
        self.cookies.get(host).cloned().unwrap_or_default()
    }

    /// Sets a cookie of this host, with any value.
    pub fn set_cookie(&mut self, host: &str, name: &str, value: &str) {
        let cookies = self.cookies.entry(host.to_owned()).or_default();
        cookies.insert(name.to_owned(), value.to_owned());
    }

    async fn go(&mut self, mut next: Navigation<'_>) -> SeenLogin {
        const MAX_STEPS: usize = 12;
        let mut way = Vec::new();
        // A chain is as foreign as its most foreign part (Fetch Metadata §2.3).
        let mut chain = vec![next.from.unwrap_or_default().to_owned()];
        for _ in 0..MAX_STEPS {
            way.push(next.url.clone());
            chain.push(origin_of(&next.url).to_owned());
            let Some(address) = self.sites.get(origin_of(&next.url)).copied() else {
                return SeenLogin { way, ..SeenLogin::at(&next.url) };
            };
            let site = site(&chain, next.from.is_none());
            let response = self.send(address, &next, site).await;
            let status = response.status().as_u16();
            let headers = response.headers().clone();
            self.keep_cookies(host_of(&next.url), &headers);
            let location = headers.get("location").and_then(|value| value.to_str().ok());
            match location {
                Some(location) if (300..400).contains(&status) => {
                    let location = location.to_owned();
                    let url = match location.strip_prefix('/') {
                        Some(path) => format!("{}/{path}", origin_of(&next.url)),
                        None => location,
                    };
                    next = Navigation { url, form: None, from: next.from, origin: None };
                }
                _ => {
                    let text = response.text().await.expect("the page arrives whole");
                    return SeenLogin { url: next.url, status: Some(status), headers, text, way };
                }
            }
        }
        panic!("redirected too often: {way:?}");
    }

    async fn send(
        &self,
        address: SocketAddr,
        navigation: &Navigation<'_>,
        site: &str,
    ) -> reqwest::Response {
        let Navigation { url, form, origin, .. } = navigation;
        let origin_of_url = origin_of(url);
        let path = url.strip_prefix(origin_of_url).unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let target = format!("http://{address}{path}");
        let mut request = match form {
            Some(form) => self
                .client
                .post(target)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.clone()),
            None => self.client.get(target),
        };
        request = request.header("host", host_of(url)).header("accept", "text/html");
        if self.has_fetch_metadata {
            request = request
                .header("sec-fetch-site", site)
                .header("sec-fetch-mode", "navigate")
                .header("sec-fetch-dest", "document")
                .header("sec-fetch-user", "?1");
        }
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        // SameSite=Lax: not with forms of other sites.
        let cookies = self.cookies(host_of(url));
        if !cookies.is_empty() && (form.is_none() || site != "cross-site") {
            let pairs: Vec<String> =
                cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", pairs.join("; "));
        }
        request.send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"))
    }

    fn keep_cookies(&mut self, host: &str, headers: &HeaderMap) {
        for cookie in headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("cookies are ASCII");
            let pair = cookie.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie has a name");
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
            self.set_cookie(host, name, value);
        }
    }
}

impl SeenLogin {
    /// Where another browser ended up, on a site that tests do not know.
    pub fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            status: None,
            headers: HeaderMap::new(),
            text: String::new(),
            way: vec![url.to_owned()],
        }
    }

    /// A header's value; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A parameter of the URL; `None` if it is missing.
    ///
    /// # Panics
    ///
    /// If it is there more than once.
    pub fn parameter(&self, name: &str) -> Option<String> {
        parameter(&self.url, name)
    }

    /// The sealed request in its form; empty without a form.
    pub fn sealed_request(&self) -> String {
        self.between("name=\"request\" value=\"", "\"").unwrap_or_default().to_owned()
    }

    /// Whether it asks for consent.
    pub fn asks_for_consent(&self) -> bool {
        self.status == Some(200) && !self.sealed_request().is_empty()
    }

    /// The part of the page between these strings.
    pub fn between(&self, before: &str, after: &str) -> Option<&str> {
        self.text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
    }
}

/// A parameter of a URL; `None` if it is missing.
///
/// # Panics
///
/// If it is there more than once.
pub(crate) fn parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    let count = query.split('&').filter(|pair| pair.split('=').next() == Some(name)).count();
    assert!(count <= 1, "{name} is there {count} times: {url}");
    testkit::form(query).remove(name)
}

/// What a browser calls the origins of a chain of requests (Fetch Metadata §2.3). Each host is a site
/// of its own here.
fn site(chain: &[String], is_typed: bool) -> &'static str {
    let origins: Vec<&String> = chain.iter().filter(|origin| !origin.is_empty()).collect();
    let Some((target, sources)) = origins.split_last() else { return "none" };
    if is_typed {
        return "none";
    }
    if sources.iter().all(|source| source == target) { "same-origin" } else { "cross-site" }
}

/// Scheme and authority.
pub(crate) fn origin_of(url: &str) -> &str {
    let end = url.find("://").map_or(0, |start| start + 3);
    let length = url[end..].find(['/', '?', '#']).unwrap_or(url.len() - end);
    &url[..end + length]
}

/// The authority.
pub(crate) fn host_of(url: &str) -> &str {
    origin_of(url).split_once("://").map_or("", |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_as_foreign_as_its_most_foreign_part() {
        let chain = |origins: &[&str]| -> Vec<String> {
            origins.iter().map(|&origin| origin.to_owned()).collect()
        };
        let (own, other) = ("https://a.example", "https://b.example");
        for (origins, is_typed, expected) in [
            (&["", own][..], true, "none"),
            (&[own, own], false, "same-origin"),
            (&[other, own], false, "cross-site"),
            (&[own, own, other, own], false, "cross-site"),
        ] {
            assert_eq!(site(&chain(origins), is_typed), expected, "{origins:?}");
        }
    }

    #[test]
    fn the_parts_of_a_url_are_found() {
        assert_eq!(origin_of("https://a.example:1/b?c=d"), "https://a.example:1");
        assert_eq!(origin_of("http://127.0.0.1:1?code=x"), "http://127.0.0.1:1");
        assert_eq!(host_of("https://a.example/b"), "a.example");
        assert_eq!(parameter("https://a/?b=c%20d", "b").as_deref(), Some("c d"));
    }
}
