//! The kinds of lists, and the calls to their items.

use crate::access::{Listed, case_folded};
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
    pub(crate) const ALL: [Self; 4] =
        [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The list that a method of MCP returns, also if only a server that ignores case or white
    /// space takes it for that method.
    pub(crate) fn from_method(method: &str) -> Option<Self> {
        let is_padding = |character: char| character.is_whitespace() || character.is_control();
        let folded = case_folded(method.trim_matches(is_padding));
        Self::ALL.into_iter().find(|kind| kind.method() == folded)
    }

    /// The method that returns it.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// The member of a result that holds the items.
    pub(crate) fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an item by which it is called.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// What the item with this key is for. A template is for URIs with its literal beginning.
    pub(crate) fn item(self, key: &str) -> Listed {
        let call = |method: &str, name: &str| McpCall {
            method: method.to_owned(),
            name: Some(name.to_owned()),
        };
        match self {
            Self::Tools => Listed::Call(call("tools/call", key)),
            Self::Prompts => Listed::Call(call("prompts/get", key)),
            Self::Resources => Listed::Call(call("resources/read", key)),
            Self::Templates => {
                let beginning = key.split('{').next().unwrap_or_default();
                Listed::Template(call("resources/read", beginning))
            }
        }
    }
}
