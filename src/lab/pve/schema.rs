//! The tables that drive the face: what can be called, by whom, with which parameters.
//!
//! `schema-8.json` and `schema-9.json` are derived from a dump of the real API
//! tree (`scripts/derive-schema`), not written by hand, so that the lab cannot
//! be kinder than Proxmox by forgetfulness.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// One major version's contract.
#[derive(Debug, Deserialize)]
pub(super) struct Schema {
    pub cpu_models: Vec<String>,
    /// Models as `capabilities` lists them.
    pub cpu_list: Vec<Value>,
    /// Built-in roles and their privileges.
    pub roles: BTreeMap<String, Vec<String>>,
    /// `net[n]` to its lowest and highest index.
    pub ranges: HashMap<String, (u32, u32)>,
    pub codes: HashMap<String, Code>,
    pub formats: HashMap<String, Format>,
    pub property_strings: HashMap<String, Members>,
    /// What `GET` of a directory lists.
    pub directories: HashMap<String, Value>,
    pub endpoints: Vec<Endpoint>,
}

/// The members of a property string, or the parameters of a call.
pub(super) type Members = BTreeMap<String, Property>;

#[derive(Debug, Deserialize)]
pub(super) struct Endpoint {
    pub method: String,
    /// `/nodes/{node}/qemu/{vmid}/config`
    pub path: String,
    /// The permission expression, as upstream registers it; absent when any authenticated caller may.
    pub check: Option<Value>,
    /// Nobody needs to be authenticated.
    pub world: bool,
    /// API tokens may call it.
    pub token: bool,
    pub params: Members,
    /// The lab refuses it as the site does, for want of a privilege or for a wrong parameter, and plays no more of it.
    #[serde(default)]
    pub known_only: bool,
}

/// A parameter or a member of a property string.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Property {
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    pub format: Option<FormatRef>,
    pub pattern: Option<Pattern>,
    #[serde(rename = "minLength")]
    pub min_length: Option<usize>,
    #[serde(rename = "maxLength")]
    pub max_length: Option<usize>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    #[serde(rename = "enum")]
    pub values: Vec<String>,
    pub optional: bool,
    pub requires: Option<String>,
    pub default_key: bool,
    pub alias: Option<String>,
    #[serde(rename = "keyAlias")]
    pub key_alias: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    String,
    Integer,
    Number,
    Boolean,
    Array,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum FormatRef {
    Named(String),
    Property {
        #[serde(rename = "$property-string")]
        name: String,
    },
}

/// A format by name: one value, a list of values, or a property string.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Format {
    Code { code: String, modifier: Modifier },
    Members { members: Members },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Modifier {
    One,
    List,
    Opt,
}

/// A validator that is a function upstream: a pattern and what it says when the value does not fit.
#[derive(Debug, Deserialize)]
pub(super) struct Code {
    pub regex: Option<Pattern>,
    #[serde(default)]
    pub error: String,
    #[serde(default)]
    pub pre: Vec<Pre>,
    pub split: Option<String>,
}

/// A check before the pattern.
#[derive(Debug, Deserialize)]
pub(super) struct Pre {
    #[serde(rename = "if")]
    pub condition: String,
    pub error: String,
}

/// A pattern over the whole value, compiled when it is first needed.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub(super) struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self { text, compiled: OnceLock::new() }
    }
}

impl Pattern {
    pub(super) fn matches(&self, value: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| {
            // Perl's `$` lets one final newline pass.
            regex::RegexBuilder::new(&format!(r"\A(?:{})\n?\z", self.text)).size_limit(64 << 20).build().ok()
        });
        compiled.as_ref().is_some_and(|regex| regex.is_match(value))
    }
}

/// The contract of `major`, 8 or 9.
pub(super) fn schema(major: u8) -> &'static Schema {
    static EIGHT: OnceLock<Schema> = OnceLock::new();
    static NINE: OnceLock<Schema> = OnceLock::new();
    let (cell, text) = match major {
        8 => (&EIGHT, include_str!("schema-8.json")),
        _ => (&NINE, include_str!("schema-9.json")),
    };
    cell.get_or_init(|| serde_json::from_str(text).expect("scripts/derive-schema writes what Schema reads"))
}

impl Schema {
    /// The schema of the parameter `name`, indexed names (`net0`) included.
    pub(super) fn parameter<'a>(&self, members: &'a Members, name: &str) -> Option<&'a Property> {
        if let Some(property) = members.get(name) {
            return Some(property).filter(|_| !name.ends_with("[n]"));
        }
        let stem = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let index = &name[stem.len()..];
        if index.is_empty() || (index.len() > 1 && index.starts_with('0')) {
            return None;
        }
        let indexed = format!("{stem}[n]");
        let (low, high) = self.ranges.get(&indexed)?;
        let index: u32 = index.parse().ok()?;
        members.get(&indexed).filter(|_| (*low..=*high).contains(&index))
    }

    /// The members of a property-string format.
    pub(super) fn members(&self, format: &FormatRef) -> Option<&Members> {
        match format {
            FormatRef::Property { name } => self.property_strings.get(name),
            FormatRef::Named(name) => match self.formats.get(name)? {
                Format::Members { members } => Some(members),
                Format::Code { .. } => None,
            },
        }
    }

    /// The endpoint registered as `method path`.
    pub(super) fn endpoint(&self, method: &str, path: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.method == method && endpoint.path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_of_both_versions_compiles() {
        for major in [8, 9] {
            let schema = schema(major);
            let members = schema.endpoints.iter().map(|endpoint| &endpoint.params);
            let members = members.chain(schema.property_strings.values());
            for pattern in members.flat_map(BTreeMap::values).filter_map(|property| property.pattern.as_ref()) {
                pattern.matches("");
                assert!(pattern.compiled.get().unwrap().is_some(), "{}", pattern.text);
            }
        }
    }

    #[test]
    fn indexes_end_where_their_range_ends() {
        let schema = schema(9);
        let params = &schema.endpoint("POST", "/nodes/{node}/qemu").unwrap().params;
        for (name, known) in [("net31", true), ("net32", false), ("net01", false), ("net", false), ("scsi30", true)] {
            assert_eq!(schema.parameter(params, name).is_some(), known, "{name}");
        }
    }
}
