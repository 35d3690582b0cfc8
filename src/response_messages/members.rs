//! The members of a JSON object in a message of a server, as far as its clients agree on them.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::access::{MessageId, case_folded};

/// The members of an object in order, their values unread.
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Names and values in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The values of these members, in the order of `names`; `None` if clients may find different
    /// ones. One look at each member: a server may send very many.
    pub(crate) fn read_alike<const N: usize>(
        &self,
        names: [&str; N],
    ) -> Option<[Option<&'a RawValue>; N]> {
        let folded = names.map(case_folded);
        let mut values = [None; N];
        for (member, value) in self.iter() {
            let member_folded = case_folded(member);
            let Some(index) = folded.iter().position(|name| *name == member_folded) else {
                continue;
            };
            let is_spelt_so = names.get(index) == Some(&member);
            let known = values.get_mut(index).filter(|known| known.is_none() && is_spelt_so)?;
            *known = Some(value);
        }
        Some(values)
    }

    /// The value of `id`, if all clients read the same one.
    pub(crate) fn id(&self) -> Option<MessageId> {
        self.only("id").filter(|_| self.is_clear(&["id"])).and_then(MessageId::from_value)
    }

    /// The values of all members of this name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'a RawValue> {
        self.0.iter().filter(move |(member, _)| member == name).map(|(_, value)| *value)
    }

    /// The value of a member that does not repeat.
    pub(crate) fn only(&self, name: &str) -> Option<&'a RawValue> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether a client that ignores case finds this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(member, _)| case_folded(member) == case_folded(name))
    }

    /// Whether only a client that ignores case finds this name.
    pub(crate) fn has_in_other_case(&self, name: &str) -> bool {
        let folded = case_folded(name);
        self.0.iter().any(|(member, _)| member != name && case_folded(member) == folded)
    }

    /// Whether all clients find the same values for these names.
    pub(crate) fn is_clear(&self, names: &[&str]) -> bool {
        names.iter().all(|name| !self.has_in_other_case(name) && self.all(name).count() < 2)
    }

    /// Whether any member repeats.
    pub(crate) fn repeats(&self) -> bool {
        let mut seen = BTreeSet::new();
        !self.0.iter().all(|(name, _)| seen.insert(name))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members<'de>, A::Error> {
        let mut read = Vec::new();
        while let Some(member) = members.next_entry::<String, &RawValue>()? {
            read.push(member);
        }
        Ok(Members(read))
    }
}
