//! The head of a request as the host hands it over: bytes that nobody has looked at.

/// The header fields of a request, pseudo-headers included, names in lower case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHead<'a> {
    fields: &'a [(String, Vec<u8>)],
    has_body: bool,
}

impl<'a> RequestHead<'a> {
    /// A view of these fields, which a body follows or not.
    #[must_use]
    pub(crate) fn new(fields: &'a [(String, Vec<u8>)], has_body: bool) -> Self {
        Self { fields, has_body }
    }

    /// Whether a body follows, be it an empty one.
    #[must_use]
    pub(crate) fn has_body(self) -> bool {
        self.has_body
    }

    /// All names, repeated ones too.
    pub(crate) fn names(self) -> impl Iterator<Item = &'a str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// All values of a field.
    pub(crate) fn values(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_slice())
    }

    /// All values of a field, also where `_` stands in its name for `-`: some servers take that for
    /// the same field.
    pub(crate) fn values_in_any_spelling(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields.iter();
        fields.filter(move |(own, _)| is_spelling(own, name)).map(|(_, value)| value.as_slice())
    }

    /// The method; empty when there is none.
    pub(crate) fn method(self) -> &'a [u8] {
        self.values(":method").next().unwrap_or_default()
    }

    /// The path without the query, and without one slash at its end. Envoy has normalised it.
    pub(crate) fn path(self) -> &'a [u8] {
        let path = self.target().0;
        match path.strip_suffix(b"/") {
            Some(shorter) if !shorter.is_empty() => shorter,
            _ => path,
        }
    }

    /// What follows the first question mark.
    pub(crate) fn query(self) -> Option<&'a [u8]> {
        self.target().1
    }

    fn target(self) -> (&'a [u8], Option<&'a [u8]>) {
        let target = self.values(":path").next().unwrap_or_default();
        let mut parts = target.splitn(2, |&byte| byte == b'?');
        (parts.next().unwrap_or_default(), parts.next())
    }
}

/// Whether a server may take the first name for the second, which is in lower case and has no `_`:
/// names are the same in any case, and CGI and WSGI servers take `_` for `-`.
pub(crate) fn is_spelling(sent: &str, name: &str) -> bool {
    let is_same = |(sent, own): (u8, u8)| {
        sent == own || (sent == b'_' && own == b'-') || sent.to_ascii_lowercase() == own
    };
    sent.len() == name.len() && sent.bytes().zip(name.bytes()).all(is_same)
}
