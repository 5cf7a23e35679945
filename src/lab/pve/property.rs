//! Property strings: `virtio=MAC,bridge=vmbr0`, parsed and printed as upstream does.
//!
//! Order on input is free; on output the value of the default key comes first
//! and bare, the rest sorted by name (pve-common: src/PVE/JSONSchema.pm,
//! `parse_property_string` and `print_property_string`).

use std::collections::BTreeMap;

use super::schema::{Kind, Members, Schema};
use super::verify;

/// A parsed property string: member name to value.
pub(super) type Properties = BTreeMap<String, String>;

/// Splits without checking the values. The error ends in a newline, as upstream dies.
pub(super) fn split(members: &Members, text: &str) -> Result<Properties, String> {
    let duplicate = |key: &str| Err(format!("duplicate key in comma-separated list property: {key}\n"));
    let mut out = Properties::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let (key, value) = match part.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => (key.to_owned(), value),
            Some(_) => return Err("missing key in comma-separated list property\n".into()),
            None => {
                let default = members.iter().find(|(_, member)| member.default_key);
                let Some((key, _)) = default else {
                    return Err("value without key, but schema does not define a default key\n".into());
                };
                (key.clone(), part)
            }
        };
        if out.contains_key(&key) {
            return duplicate(&key);
        }
        let mut name = key.clone();
        if let Some(alias) = members.get(&key).and_then(|member| member.alias.clone()) {
            if let Some(key_alias) = members.get(&key).and_then(|member| member.key_alias.clone()) {
                if out.contains_key(&key_alias) {
                    return Err(format!("key alias '{key_alias}' is already defined\n"));
                }
                out.insert(key_alias, key);
            }
            name = alias;
        }
        let boolean = members.get(&name).is_some_and(|member| member.kind == Some(Kind::Boolean));
        let value = if boolean { boolean_word(value).unwrap_or(value) } else { value };
        if out.insert(name.clone(), value.to_owned()).is_some() {
            return duplicate(&name);
        }
    }
    Ok(out)
}

/// Words for true and false, which only property strings accept.
fn boolean_word(word: &str) -> Option<&'static str> {
    match word.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => Some("1"),
        "0" | "off" | "no" | "false" => Some("0"),
        _ => None,
    }
}

/// Parses and checks: the text after `invalid format - ` when it is wrong. `name` is the parameter.
pub(super) fn parse(schema: &Schema, members: &Members, name: &str, text: &str) -> Result<Properties, String> {
    let properties = split(members, text)?;
    let values = properties.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let errors = verify::object(schema, members, &values, &format!("{name}."));
    if errors.is_empty() {
        return Ok(properties);
    }
    let lines = errors.iter().map(|(key, text)| format!("{name}.{key}: {text}\n"));
    Err(format!("format error\n{}", lines.collect::<String>()))
}

/// The canonical text.
pub(super) fn print(members: &Members, properties: &Properties) -> String {
    let mut parts = Vec::new();
    let mut rest = properties.clone();
    // net0's default key is the model, but its MAC goes with it: `virtio=BC:…`.
    if let (Some(model), Some(mac)) = (rest.get("model").cloned(), rest.get("macaddr").cloned())
        && members.get(&model).is_some_and(|member| member.key_alias.is_some())
    {
        rest.remove("model");
        rest.remove("macaddr");
        parts.push(format!("{model}={mac}"));
    }
    if let Some((key, _)) = members.iter().find(|(_, member)| member.default_key)
        && let Some(value) = rest.remove(key)
    {
        parts.push(value);
    }
    parts.extend(rest.iter().map(|(key, value)| format!("{key}={value}")));
    parts.join(",")
}
