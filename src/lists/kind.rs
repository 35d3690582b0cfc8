//! The kinds of lists, and the calls to their items.

use crate::refusal::McpCall;

/// A kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// `tools/list`
    Tools,
    /// `prompts/list`
    Prompts,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    Templates,
}

impl ListKind {
    pub(super) const ALL: [Self; 4] =
        [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The list that a method of MCP returns.
    pub(crate) fn of_method(method: &str) -> Option<Self> {
        match method {
            "tools/list" => Some(Self::Tools),
            "prompts/list" => Some(Self::Prompts),
            "resources/list" => Some(Self::Resources),
            "resources/templates/list" => Some(Self::Templates),
            _ => None,
        }
    }

    /// The member of a result that holds the items.
    pub(super) fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an item by which it is called.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// The call to the item with this key. A template is called by its literal beginning.
    pub(super) fn call(self, key: &str) -> McpCall {
        let (method, name) = match self {
            Self::Tools => ("tools/call", key),
            Self::Prompts => ("prompts/get", key),
            Self::Resources => ("resources/read", key),
            Self::Templates => ("resources/read", key.split('{').next().unwrap_or_default()),
        };
        McpCall { method: method.to_owned(), name: Some(name.to_owned()) }
    }
}
