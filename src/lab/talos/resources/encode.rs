//! One value, two encodings: the protobuf and the YAML of a spec.
//!
//! Both as Talos's own marshallers write them: fields in the order of the type, zero left
//! out of the one, and of the other only where the type says so (protoenc 0.2, go-yaml 4).

use std::net::{IpAddr, SocketAddr};

use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::value::Kind;
use serde_json::{Map, Value};

use super::shape::{Field, Shapes, Type, shapes};
use crate::lab::fleet::minor::Minor;

/// The spec of a resource of type `kind`, by the rules of `minor`: what goes over the wire, and what people read.
///
/// `value` has the keys of the YAML; what it leaves out is zero.
pub(super) fn encode(kind: &str, minor: &Minor, value: &Value) -> (Vec<u8>, Value) {
    let coder = Coder { shapes: shapes(), minor: minor.minor, spells_zero: minor.spells_zero };
    let message = coder.shapes.message_of(kind);
    (coder.message(message, value), coder.readable(message, value))
}

struct Coder {
    shapes: &'static Shapes,
    minor: u32,
    spells_zero: bool,
}

const NONE: &Value = &Value::Null;

/// What `value` has for a field: itself where the field is all there is.
fn part<'a>(field: &Field, value: &'a Value) -> &'a Value {
    if field.key == "=" || field.merged { value } else { value.get(field.key).unwrap_or(NONE) }
}

impl Coder {
    fn message(&self, name: &str, value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        for field in self.shapes.fields(name, self.minor) {
            self.field(field.number, &field.kind, part(field, value), self.spells_zero, &mut out);
        }
        out
    }

    /// `always`: zero is written as well, because it is behind a pointer or in a list.
    fn field(&self, number: u32, kind: &Type, value: &Value, always: bool, out: &mut Vec<u8>) {
        let bytes = |bytes: &[u8], out: &mut Vec<u8>| {
            if always || !bytes.is_empty() {
                encode_key(number, WireType::LengthDelimited, out);
                encode_varint(bytes.len() as u64, out);
                out.extend_from_slice(bytes);
            }
        };
        match kind {
            Type::Bool | Type::Uint | Type::Int | Type::Enum(_) => {
                let number_of = self.varint(kind, value);
                if always || number_of != 0 {
                    encode_key(number, WireType::Varint, out);
                    encode_varint(number_of, out);
                }
            }
            Type::Float => {
                let float = value.as_f64().unwrap_or_default();
                if always || float != 0.0 {
                    encode_key(number, WireType::SixtyFourBit, out);
                    out.extend_from_slice(&float.to_le_bytes());
                }
            }
            Type::Free if value.is_null() && !always => {}
            // Slices, which have no zero to spell.
            Type::Mac | Type::Bytes if self.delimited(kind, value).is_empty() => {}
            Type::Text
            | Type::Bytes
            | Type::Mac
            | Type::Ip
            | Type::Prefix
            | Type::Endpoint
            | Type::Duration
            | Type::Free
            | Type::Message(_) => {
                bytes(&self.delimited(kind, value), out);
            }
            Type::Optional(inner) => {
                if !value.is_null() {
                    self.field(number, inner, value, true, out);
                }
            }
            Type::List(inner) => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                if matches!(**inner, Type::Bool | Type::Uint | Type::Int | Type::Enum(_)) {
                    let mut packed = Vec::new();
                    for item in items {
                        encode_varint(self.varint(inner, item), &mut packed);
                    }
                    if !packed.is_empty() {
                        bytes(&packed, out);
                    }
                } else {
                    for item in items {
                        self.field(number, inner, item, true, out);
                    }
                }
            }
            Type::Map(inner) => {
                for (key, item) in value.as_object().into_iter().flatten() {
                    let mut entry = Vec::new();
                    self.field(1, &Type::Text, &Value::from(key.as_str()), true, &mut entry);
                    self.field(2, inner, item, true, &mut entry);
                    encode_key(number, WireType::LengthDelimited, out);
                    encode_varint(entry.len() as u64, out);
                    out.extend_from_slice(&entry);
                }
            }
        }
    }

    fn varint(&self, kind: &Type, value: &Value) -> u64 {
        match (kind, value) {
            (Type::Bool, _) => u64::from(value.as_bool().unwrap_or_default()),
            (Type::Enum(name), Value::String(text)) => {
                let number = self.shapes.words(name).and_then(|words| words.number(text));
                debug_assert!(number.is_some(), "{text:?} is no word of {name}");
                number.unwrap_or_default()
            }
            _ => value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned)).unwrap_or_default(),
        }
    }

    fn delimited(&self, kind: &Type, value: &Value) -> Vec<u8> {
        let text = value.as_str().unwrap_or_default();
        match kind {
            Type::Text => text.as_bytes().to_vec(),
            Type::Bytes => {
                let bytes = value.as_array().into_iter().flatten().filter_map(Value::as_u64);
                bytes.filter_map(|byte| u8::try_from(byte).ok()).collect()
            }
            Type::Mac => text.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect(),
            Type::Ip => address(text),
            Type::Prefix => {
                let Some((ip, bits)) = text.split_once('/') else {
                    // Go's prefix that is none has a length of -1.
                    let mut out = Vec::new();
                    if self.spells_zero {
                        self.field(2, &Type::Int, &Value::from(-1), false, &mut out);
                    }
                    return out;
                };
                let mut out = address(ip);
                self.field(2, &Type::Int, &Value::from(bits.parse::<u64>().unwrap_or_default()), false, &mut out);
                out
            }
            Type::Endpoint => {
                let Ok(endpoint) = text.parse::<SocketAddr>() else { return Vec::new() };
                let mut out = address(&endpoint.ip().to_string());
                self.field(2, &Type::Int, &Value::from(endpoint.port()), false, &mut out);
                out
            }
            Type::Duration => {
                let seconds = seconds(text);
                let mut out = Vec::new();
                self.field(1, &Type::Int, &Value::from(seconds), false, &mut out);
                out
            }
            Type::Free => match free(value) {
                Some(Kind::StructValue(fields)) => prost::Message::encode_to_vec(&fields),
                _ => Vec::new(),
            },
            Type::Message(name) => self.message(name, value),
            _ => Vec::new(),
        }
    }

    /// What YAML shows of a message.
    fn readable(&self, name: &str, value: &Value) -> Value {
        let mut out = Map::new();
        for field in self.shapes.fields(name, self.minor) {
            let part = part(field, value);
            let shown = self.shown(&field.kind, part);
            if field.key == "=" {
                return shown;
            }
            if field.merged {
                out.extend(shown.as_object().cloned().unwrap_or_default());
            } else if !(field.omitted && self.is_zero(&field.kind, part)) {
                out.insert(field.key.to_owned(), shown);
            }
        }
        Value::Object(out)
    }

    fn shown(&self, kind: &Type, value: &Value) -> Value {
        match kind {
            Type::Message(name) => return self.readable(name, value),
            Type::List(inner) => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                return items.iter().map(|item| self.shown(inner, item)).collect();
            }
            Type::Map(inner) => {
                let items = value.as_object().into_iter().flatten();
                return items.map(|(key, item)| (key.clone(), self.shown(inner, item))).collect();
            }
            Type::Optional(_) if value.is_null() => return Value::Null,
            Type::Optional(inner) => return self.shown(inner, value),
            _ if !value.is_null() => return value.clone(),
            _ => {}
        }
        match kind {
            Type::Bool => Value::from(false),
            Type::Uint | Type::Int | Type::Float => Value::from(0),
            Type::Duration => Value::from("0s"),
            Type::Free => Value::Object(Map::new()),
            Type::Bytes => Value::Array(Vec::new()),
            Type::Enum(name) => Value::from(self.shapes.words(name).map_or("", super::shape::Words::zero)),
            _ => Value::from(""),
        }
    }

    fn is_zero(&self, kind: &Type, value: &Value) -> bool {
        match (kind, value) {
            // Of an address go-yaml sees no field, and takes every one for zero.
            (_, Value::Null) | (Type::Ip | Type::Prefix | Type::Endpoint, _) => true,
            (Type::Optional(_), _) => false,
            (Type::Message(name), _) => {
                self.shapes.fields(name, self.minor).all(|field| self.is_zero(&field.kind, part(field, value)))
            }
            (Type::Enum(_), _) => self.varint(kind, value) == 0,
            (_, Value::Bool(flag)) => !flag,
            (_, Value::Number(number)) => number.as_f64() == Some(0.0),
            (Type::Duration, Value::String(text)) => text == "0s",
            (_, Value::String(text)) => text.is_empty(),
            (_, Value::Array(items)) => items.is_empty(),
            (_, Value::Object(fields)) => fields.is_empty(),
        }
    }
}

/// `common.NetIP`.
fn address(text: &str) -> Vec<u8> {
    let octets = match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.octets().to_vec(),
        Ok(IpAddr::V6(ip)) => ip.octets().to_vec(),
        Err(_) => return Vec::new(),
    };
    let mut out = Vec::new();
    prost::encoding::bytes::encode(1, &octets, &mut out);
    out
}

/// `1h0m0s`, as Go prints whole seconds.
fn seconds(text: &str) -> u64 {
    let (mut total, mut number) = (0, 0);
    for letter in text.chars() {
        match (letter.to_digit(10), letter) {
            (Some(digit), _) => number = number * 10 + u64::from(digit),
            (_, 'h') => total += std::mem::take(&mut number) * 3600,
            (_, 'm') => total += std::mem::take(&mut number) * 60,
            _ => total += std::mem::take(&mut number),
        }
    }
    total
}

/// `google.protobuf.Value`.
fn free(value: &Value) -> Option<Kind> {
    Some(match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64()?),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            let values = items.iter().map(|item| prost_types::Value { kind: free(item) }).collect();
            Kind::ListValue(prost_types::ListValue { values })
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, item)| (name.clone(), prost_types::Value { kind: free(item) }));
            Kind::StructValue(prost_types::Struct { fields: fields.collect() })
        }
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use serde_json::json;

    use super::*;
    use crate::lab::fleet::minor::of;
    use crate::talos::wire::specs::{LinkStatusSpec, NodeAddressSpec};

    #[test]
    fn both_encodings_say_the_same() {
        let value = json!({"index": 4, "type": "ether", "flags": "UP,BROADCAST", "hardwareAddr": "bc:24:11:00:00:0a", "operationalState": "up", "linkState": true});
        let (proto, yaml) = encode("LinkStatuses.net.talos.dev", of("v1.13.9"), &value);
        let spec = LinkStatusSpec::decode(&*proto).unwrap();
        assert_eq!((spec.index, spec.r#type, spec.flags), (4, 1, 3));
        assert_eq!(spec.hardware_addr, [0xbc, 0x24, 0x11, 0, 0, 10]);
        assert_eq!((yaml["type"].as_str(), yaml["linkState"].as_bool()), (Some("ether"), Some(true)));
        // Zero is shown, except where the type says that it is not.
        assert_eq!((&yaml["mtu"], &yaml["permanentAddr"], yaml.get("masterIndex")), (&json!(0), &json!(""), None));

        let (proto, yaml) =
            encode("NodeAddresses.net.talos.dev", of("v1.13.9"), &json!({"addresses": ["10.0.0.1/24"]}));
        let spec = NodeAddressSpec::decode(&*proto).unwrap();
        assert_eq!((&spec.addresses[0].ip[..], spec.addresses[0].prefix_length), (&[10, 0, 0, 1][..], 24));
        assert_eq!(yaml, json!({"addresses": ["10.0.0.1/24"], "sortAlgorithm": "v1"}));
    }

    #[test]
    fn a_field_is_written_for_the_minors_that_have_it() {
        let value = json!({"timeServers": ["a"], "useNTS": true});
        let kind = "TimeServerStatuses.net.talos.dev";
        assert_eq!(encode(kind, of("v1.13.9"), &value).1, json!({"timeServers": ["a"]}));
        assert_eq!(encode(kind, of("v1.14.0"), &value).1, json!({"timeServers": ["a"], "useNTS": true}));
        assert!(encode(kind, of("v1.13.9"), &value).0.len() < encode(kind, of("v1.14.0"), &value).0.len());
    }

    #[test]
    fn zero_is_spelled_by_old_minors_only() {
        let value = json!({"running": true});
        let kind = "Services.v1alpha1.talos.dev";
        assert_eq!(encode(kind, of("v1.11.6"), &value).0, [8, 1, 16, 0, 24, 0]);
        assert_eq!(encode(kind, of("v1.12.0"), &value).0, [8, 1]);
    }

    #[test]
    fn what_stands_for_the_whole_is_the_whole() {
        let (proto, yaml) = encode("MachineTypes.config.talos.dev", of("v1.13.9"), &json!("controlplane"));
        assert_eq!((&proto[..], yaml), (&[8, 2][..], json!("controlplane")));
        let pod = json!({"kind": "Pod"});
        let (proto, yaml) = encode("StaticPods.kubernetes.talos.dev", of("v1.13.9"), &pod);
        assert_eq!(yaml, pod);
        assert!(!proto.is_empty());
    }
}
