//! Parameter verification: all errors at once, in upstream's words.
//!
//! Order within one parameter: type, format, pattern, lengths, maximum,
//! minimum, enumeration; the first failure wins (pve-common:
//! src/PVE/JSONSchema.pm, `check_prop`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::schema::{FormatRef, Kind, Members, Property, Schema};
use super::{formats, property};

/// Parameters as they came: strings from forms and queries, anything from JSON.
pub(super) type Raw = BTreeMap<String, Value>;
/// Parameters as handlers see them.
pub(super) type Params = BTreeMap<String, String>;
/// Parameter to text.
pub(super) type Errors = BTreeMap<String, String>;

const UNKNOWN: &str = "property is not defined in schema and the schema does not allow additional properties";
/// Flags of the processor that a VM may switch, in the order in which each release tells them.
const CPU_FLAGS_8: &[&str] = &[
    "pcid",
    "spec-ctrl",
    "ibpb",
    "ssbd",
    "virt-ssbd",
    "amd-ssbd",
    "amd-no-ssb",
    "pdpe1gb",
    "md-clear",
    "hv-tlbflush",
    "hv-evmcs",
    "aes",
];
const CPU_FLAGS_9: &[&str] = &[
    "aes",
    "amd-no-ssb",
    "amd-ssbd",
    "hv-evmcs",
    "hv-tlbflush",
    "ibpb",
    "md-clear",
    "nested-virt",
    "pcid",
    "pdpe1gb",
    "spec-ctrl",
    "ssbd",
    "virt-ssbd",
];
const MISSING: &str = "property is missing and it is not optional";

/// Verifies the parameters of a call.
pub(super) fn parameters(schema: &Schema, members: &Members, raw: &Raw) -> Result<Params, Errors> {
    let errors = object(schema, members, raw, "");
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(raw.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
}

/// Checks every member; an empty map means that all is well. `path` is what stands before their names, `ipconfig0.`.
pub(super) fn object(schema: &Schema, members: &Members, raw: &Raw, path: &str) -> Errors {
    let mut errors = Errors::new();
    for (name, property) in members {
        if !raw.contains_key(name) && !property.optional && property.alias.is_none() && !name.ends_with("[n]") {
            errors.insert(name.clone(), MISSING.into());
        }
    }
    for (name, value) in raw {
        let Some(property) = schema.parameter(members, name) else {
            // A parameter without a name is called by the name of the whole.
            let name = if name.is_empty() && path.is_empty() { "_root" } else { name };
            errors.insert(name.to_owned(), UNKNOWN.into());
            continue;
        };
        if let Err(text) = check(schema, property, name, value) {
            errors.insert(name.clone(), text);
        }
        if let Some(required) = &property.requires
            && !raw.contains_key(required)
        {
            let text = if is_nine(schema) {
                format!("missing property required by '{path}{name}'")
            } else {
                format!("missing property - '{path}{name}' requires this property")
            };
            // Two complaints about one parameter are joined by these two letters, not by a line's end.
            errors.entry(required.clone()).and_modify(|other| *other = format!("{other}\\n{text}")).or_insert(text);
        }
    }
    errors
}

fn check(schema: &Schema, property: &Property, name: &str, value: &Value) -> Result<(), String> {
    if value.is_null() {
        return if property.optional { Ok(()) } else { Err(MISSING.into()) };
    }
    let kind = property.kind.unwrap_or(Kind::String);
    let list =
        kind == Kind::Array || matches!(&property.format, Some(FormatRef::Named(format)) if format.ends_with("-list"));
    let text = match value {
        Value::Object(_) => return Err(format!("type check ('{}') failed - got HASH", kind.name())),
        Value::Bool(_) if kind != Kind::Boolean => {
            return Err(format!("type check ('{}') failed - got JSON::PP::Boolean", kind.name()));
        }
        Value::Array(_) if !list => return Err(format!("type check ('{}') failed - got ARRAY", kind.name())),
        other => plain(other),
    };
    if !is_of(kind, &text) {
        return Err(format!("type check ('{}') failed - got '{text}'", kind.name()));
    }
    if let Some(format) = &property.format {
        check_format(schema, format, name, &text).map_err(|error| format!("invalid format - {error}"))?;
    }
    if property.pattern.as_ref().is_some_and(|pattern| !pattern.matches(&text)) {
        return Err("value does not match the regex pattern".into());
    }
    let length = text.chars().count();
    if let Some(most) = property.max_length.filter(|most| length > *most) {
        return Err(format!("value may only be {most} characters long"));
    }
    if let Some(least) = property.min_length.filter(|least| length < *least) {
        return Err(format!("value must be at least {least} characters long"));
    }
    if let Ok(number) = text.parse::<f64>() {
        if let Some(most) = property.maximum.filter(|most| number > *most) {
            return Err(format!("value must have a maximum value of {most}"));
        }
        if let Some(least) = property.minimum.filter(|least| number < *least) {
            return Err(format!("value must have a minimum value of {least}"));
        }
    }
    if !property.values.is_empty() && !property.values.contains(&text) {
        let all = property.values.join(", ");
        return Err(format!("value '{text}' does not have a value in the enumeration '{all}'"));
    }
    Ok(())
}

fn check_format(schema: &Schema, format: &FormatRef, name: &str, text: &str) -> Result<(), String> {
    let Some(members) = schema.members(format) else {
        let FormatRef::Named(format) = format else { return Ok(()) };
        return formats::check(schema, format, text);
    };
    let properties = property::parse(schema, members, name, text)?;
    if members.contains_key("cputype") && !properties.contains_key("cputype") {
        return Err("CPU is missing cputype\n".into());
    }
    if let Some(cpu) = properties.get("cputype")
        && !schema.cpu_models.contains(cpu)
    {
        return Err(match cpu.strip_prefix("custom-") {
            Some(custom) => format!("Custom cputype '{custom}' not found\n"),
            None => format!("Built-in cputype '{cpu}' is not defined (missing 'custom-' prefix?)\n"),
        });
    }
    if members.contains_key("cputype") {
        vm_cpu(schema, &properties)?;
    }
    Ok(())
}

/// A VM's own choice of processor says less than a model's definition (qemu-server 9.2:
/// src/PVE/QemuServer/CPUConfig.pm, `validate_vm_cpu_conf`).
fn vm_cpu(schema: &Schema, cpu: &property::Properties) -> Result<(), String> {
    let known: &[&str] = if is_nine(schema) { CPU_FLAGS_9 } else { CPU_FLAGS_8 };
    let fine = |flag: &str| flag.strip_prefix(['+', '-']).is_some_and(|flag| known.contains(&flag));
    if cpu.get("flags").is_some_and(|flags| !flags.split(';').all(fine)) {
        return Err(format!("VM-specific CPU flags must be a subset of: {}\n", known.join(", ")));
    }
    if cpu.contains_key("reported-model") {
        return Err("Property 'reported-model' not allowed in VM-specific CPU config.\n".into());
    }
    Ok(())
}

/// `roles` tells the releases apart without a second table: VM.Monitor is gone in 9.
fn is_nine(schema: &Schema) -> bool {
    !schema.roles["Administrator"].iter().any(|privilege| privilege == "VM.Monitor")
}

fn is_of(kind: Kind, text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match kind {
        // One item alone is a list of one.
        Kind::String | Kind::Array => true,
        Kind::Boolean => matches!(text, "0" | "1"),
        Kind::Integer => digits(unsigned),
        Kind::Number => match unsigned.split_once('.') {
            None => digits(unsigned),
            Some((whole, part)) => digits(whole) && (part.is_empty() || digits(part)),
        },
    }
}

/// A value as the string that a form would have carried.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(yes) => u8::from(*yes).to_string(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("\0"),
        Value::Null => String::new(),
        // A whole number has no point, however it was written.
        Value::Number(number) if number.is_f64() => number.as_f64().map_or_else(String::new, |float| float.to_string()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{routes, schema};
    use super::*;

    /// The members of a property string come in no order there.
    fn sorted(errors: &Errors) -> BTreeMap<&str, Vec<&str>> {
        let mut sorted: BTreeMap<&str, Vec<&str>> =
            errors.iter().map(|(name, text)| (name.as_str(), text.split('\n').collect())).collect();
        for lines in sorted.values_mut() {
            lines.sort_unstable();
        }
        sorted
    }

    /// How many verdicts there are, and those that are not ours.
    fn differences(text: &str) -> (usize, Vec<String>) {
        let file: Value = serde_json::from_str(text).unwrap();
        let (mut checked, mut differing) = (0, Vec::new());
        for major in [8, 9] {
            let schema = schema::schema(major);
            for vector in file["vectors"].as_array().unwrap() {
                let expected = vector.get("all").or_else(|| vector.get(format!("pve{major}"))).unwrap();
                let path = vector["path"].as_str().unwrap();
                let route = routes::find(schema, vector["method"].as_str().unwrap(), path).unwrap();
                let mut raw: Raw = serde_json::from_value(vector["params"].clone()).unwrap();
                raw.extend(route.variables.iter().map(|(name, value)| (name.clone(), value.as_str().into())));
                let errors = parameters(schema, &route.endpoint.params, &raw).err().unwrap_or_default();
                let wanted = expected.get("errors").cloned().unwrap_or_else(|| serde_json::json!({}));
                let wanted: Errors = serde_json::from_value(wanted).unwrap();
                if sorted(&errors) != sorted(&wanted) {
                    differing.push(format!("{major} {}: {errors:?}, recorded {wanted:?}", vector["note"]));
                }
                checked += 1;
            }
        }
        (checked, differing)
    }

    /// Verdicts of the real validator: see `tests/fixtures/pve`.
    #[test]
    fn verdicts_are_those_of_the_real_validator() {
        let (checked, differing) = differences(include_str!("../../../tests/fixtures/pve/validate.json"));
        assert!(differing.is_empty(), "{}", differing.join("\n"));
        assert_eq!(checked, 120);
    }

    /// The same for parameters that were put together by chance.
    #[test]
    fn verdicts_on_random_parameters_are_those_of_the_real_validator() {
        let (checked, differing) = differences(include_str!("../../../tests/fixtures/pve/validate-random.json"));
        assert!(differing.is_empty(), "{} of {checked}\n{}", differing.len(), differing.join("\n"));
        assert_eq!(checked, 3000);
    }
}
