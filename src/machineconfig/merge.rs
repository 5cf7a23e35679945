//! Strategic merge: the right document into the left, field by field, as Go's reflection over typed structs does it.
//!
//! The rules people trip over, all on purpose: lists append without looking for duplicates; a plain zero (`""`, `0`)
//! changes nothing while a pointer's zero does; a CEL expression or a size that the right does not repeat is *cleared*;
//! URLs merge by component; certificate and key come as a pair.

mod names;

use serde_json::{Map, Value};

use super::encode;
use super::go::{self, Url};
use super::minor::Minor;
use super::schema::{Field, Kind, Merge, Struct, Text, Type};

/// Two sides of a merge do not fit together.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    #[error("{at}merge type mismatch left {left} right {right}")]
    Mismatch { left: &'static str, right: &'static str, at: String, path: String },
    /// Go meets a field that belongs to another package, and may not be set: `left` is what stands there.
    #[error("{at}merge not possible, left {left} is not settable")]
    Unsettable { at: String, left: String, path: String },
    /// Talos crashes here.
    #[error("null cannot take the place of a value at {path}: delete the key with `$patch: delete`")]
    Null { path: String },
}

impl MergeError {
    /// Where the two do not fit.
    pub(super) fn path(&self) -> &str {
        let (Self::Mismatch { path, .. } | Self::Unsettable { path, .. } | Self::Null { path }) = self;
        path
    }
}

/// Merges `right` into `left`, both of one kind.
pub(super) fn documents(
    kind: &Kind,
    left: &mut Map<String, Value>,
    right: &Map<String, Value>,
    minor: &Minor,
) -> Result<(), MergeError> {
    Merger { minor, kind: kind.name, path: Vec::new(), keys: Vec::new() }.fields(&kind.root, left, right)
}

/// What Talos says when a document is to merge into a deletion that was left over: the two Go types.
pub(super) fn onto_leftover(kind: &str, named: bool) -> String {
    let left = if named { "namedSelector" } else { "selector" };
    format!("merge type mismatch left *decoder.{left} right {}", go::types::of_document(kind))
}

struct Merger<'a> {
    minor: &'a Minor,
    kind: &'static str,
    /// Fields from the document down.
    path: Vec<String>,
    /// Keys from a free-form object down.
    keys: Vec<String>,
}

impl Merger<'_> {
    fn fields(
        &mut self,
        root: &Struct,
        left: &mut Map<String, Value>,
        right: &Map<String, Value>,
    ) -> Result<(), MergeError> {
        for field in &root.fields {
            if self.minor.prefixes_fail_to_merge && matches!(field.kind, Type::Text(Text::Prefix)) {
                self.path.push(field.name.to_owned());
                let inner = "network.Prefix.Prefix netip.Prefix.ip netip.Addr.addr netip.uint128.hi";
                return Err(self.unsettable(inner, upper(left.get(field.name)).to_string()));
            }
            self.path.push(field.name.to_owned());
            self.field(field, left, right.get(field.name))?;
            self.path.pop();
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, left: &mut Map<String, Value>, right: Option<&Value>) -> Result<(), MergeError> {
        let Some(right) = right else {
            self.absent(field, left);
            return Ok(());
        };
        if field.merge == Merge::Replace {
            let keeps = matches!(right, Value::Object(map) if map.is_empty());
            if !keeps {
                left.insert(field.name.to_owned(), right.clone());
            }
            return Ok(());
        }
        if let (Merge::Keyed(key) | Merge::KeyedReplace(key), Type::List(item)) = (field.merge, &field.kind) {
            let list = left.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            return self.keyed(item, key, field.merge, list, right);
        }
        match left.get_mut(field.name) {
            // What was nil takes the right as it is, with nothing inside merged or looked at.
            None => {
                left.insert(field.name.to_owned(), right.clone());
                Ok(())
            }
            Some(left) => {
                let overwrite = field.pointer && self.minor.pointer_zero_overwrites;
                self.value(&field.kind, left, right, overwrite)
            }
        }
    }

    /// What the right does not mention still clears expressions and sizes in structs that are not pointers.
    fn absent(&mut self, field: &Field, left: &mut Map<String, Value>) {
        match &field.kind {
            Type::Cel | Type::Bytes => {
                left.shift_remove(field.name);
            }
            Type::Text(Text::Size) if self.minor.max_size_cleared_by_omission => {
                left.shift_remove(field.name);
            }
            Type::Struct(root) if !field.pointer && field.merge != Merge::Replace => {
                if let Some(Value::Object(inner)) = left.get_mut(field.name) {
                    for field in &root.fields {
                        self.absent(field, inner);
                    }
                }
            }
            _ => {}
        }
    }

    fn value(&mut self, kind: &Type, left: &mut Value, right: &Value, overwrite: bool) -> Result<(), MergeError> {
        match (kind, left, right) {
            (Type::Struct(root), Value::Object(left), Value::Object(right)) => return self.fields(root, left, right),
            (Type::List(_), Value::Array(left), Value::Array(right)) => left.extend(right.iter().cloned()),
            (Type::Map(item), Value::Object(left), Value::Object(right)) => return self.map(item, left, right),
            (Type::Args, Value::Object(left), Value::Object(right)) if self.minor.args_are_lists => {
                left.extend(right.clone());
            }
            (Type::Args, Value::Object(left), Value::Object(right)) => {
                return self.map(&Type::Text(Text::Any), left, right);
            }
            (Type::Free, left, right) => return self.free(left, right),
            (Type::Url, left, right) => return self.url(left, right),
            (Type::Text(Text::SizeMatch), Value::String(left), _) if !left.is_empty() => {
                return Err(self.unsettable("v1alpha1.InstallDiskSizeMatcher.condition", left.clone()));
            }
            (Type::Pem(_) | Type::Bool | Type::Cel | Type::Bytes | Type::Text(Text::Mac), left, right) => {
                left.clone_from(right);
            }
            (Type::Text(Text::Size), left, right) if !self.minor.sizes_take_percent => left.clone_from(right),
            // Talos keeps a share and a number of bytes apart, and of both it takes the bytes.
            (Type::Text(Text::Size), Value::String(left), Value::String(right))
                if right.ends_with('%') && !left.is_empty() && !left.ends_with('%') => {}
            (Type::Text(kind), left, Value::String(right)) => {
                if overwrite || !encode::is_zero_text(*kind, right) {
                    *left = Value::from(right.as_str());
                }
            }
            (_, left, right) => {
                if overwrite || !is_zero(right) {
                    left.clone_from(right);
                }
            }
        }
        Ok(())
    }

    fn map(
        &mut self,
        item: &Type,
        left: &mut Map<String, Value>,
        right: &Map<String, Value>,
    ) -> Result<(), MergeError> {
        for (key, right) in right {
            match left.get_mut(key).filter(|left| !left.is_null()) {
                None => {
                    left.insert(key.clone(), right.clone());
                }
                Some(left) => {
                    self.path.push(key.clone());
                    self.value(item, left, right, false)?;
                    self.path.pop();
                }
            }
        }
        Ok(())
    }

    fn keyed(&mut self, item: &Type, key: &str, how: Merge, left: &mut Value, right: &Value) -> Result<(), MergeError> {
        let (Value::Array(list), Value::Array(right)) = (left, right) else { return Ok(()) };
        // Where elements are replaced, only those are looked at that were there before, and the last of them counts.
        let before = list.len();
        for element in right {
            let is = |left: &Value| same_element(left, element, key);
            let same = match how {
                Merge::KeyedReplace(_) => list[..before].iter().rposition(is),
                _ => list.iter().position(is),
            };
            match (same, how) {
                (None, _) => list.push(element.clone()),
                (Some(at), Merge::KeyedReplace(_)) => list[at].clone_from(element),
                (Some(at), _) => self.value(item, &mut list[at], element, false)?,
            }
        }
        Ok(())
    }

    /// Free-form objects merge by what their values happen to be, and those have to be alike.
    fn free(&mut self, left: &mut Value, right: &Value) -> Result<(), MergeError> {
        match (left, right) {
            (Value::Object(left), Value::Object(right)) => {
                for (key, right) in right {
                    match left.get_mut(key).filter(|left| !left.is_null()) {
                        None => {
                            let there = left.contains_key(key);
                            if there && right.is_null() {
                                continue;
                            }
                            left.insert(key.clone(), right.clone());
                        }
                        Some(left) => {
                            self.keys.push(key.clone());
                            self.free(left, right)?;
                            self.keys.pop();
                        }
                    }
                }
            }
            (Value::Array(left), Value::Array(right)) => left.extend(right.iter().cloned()),
            (_, Value::Null) => {
                return Err(MergeError::Null { path: self.place() });
            }
            (left, right) => {
                let (ours, theirs) = (go_type(left), go_type(right));
                if ours != theirs {
                    return Err(MergeError::Mismatch {
                        left: ours,
                        right: theirs,
                        at: self.go_path(),
                        path: self.place(),
                    });
                }
                if right.is_boolean() || !is_zero(right) {
                    left.clone_from(right);
                }
            }
        }
        Ok(())
    }

    fn url(&self, left: &mut Value, right: &Value) -> Result<(), MergeError> {
        let parse = |value: &Value| Url::parse(value.as_str().unwrap_or_default()).unwrap_or_default();
        let (mut ours, theirs) = (parse(left), parse(right));
        // Merging two users reaches into a struct that keeps its fields to itself.
        if !ours.user.is_empty() && !theirs.user.is_empty() {
            let holder = if self.kind.is_empty() { "v1alpha1.Endpoint" } else { "meta.URL" };
            let name = ours.user.split(':').next().unwrap_or_default().to_owned();
            return Err(self.unsettable(&format!("{holder}.URL url.URL.User url.Userinfo.username"), name));
        }
        for (ours, theirs) in [
            (&mut ours.scheme, theirs.scheme),
            (&mut ours.opaque, theirs.opaque),
            (&mut ours.user, theirs.user),
            (&mut ours.host, theirs.host),
            (&mut ours.path, theirs.path),
            (&mut ours.query, theirs.query),
            (&mut ours.fragment, theirs.fragment),
        ] {
            if !theirs.is_empty() {
                *ours = theirs;
            }
        }
        *left = Value::String(ours.to_string());
        Ok(())
    }

    fn unsettable(&self, inner: &str, left: String) -> MergeError {
        let path = self.path.join(".");
        let at = names::chain(self.kind, &path) + &names::steps(inner);
        MergeError::Unsettable { at, left, path: self.place() }
    }

    /// The way to a value as the user wrote it.
    fn place(&self) -> String {
        self.path.iter().chain(&self.keys).map(String::as_str).collect::<Vec<_>>().join(".")
    }

    /// The way to a free-form value as Go names it: the field of every struct, then the keys above the last.
    fn go_path(&self) -> String {
        let path = self.path.join(".");
        let mut text = names::chain(self.kind, &path);
        text = text + "merge field " + self.minor.free_form_package + ".Unstructured.Object: ";
        for key in self.keys.iter().take(self.keys.len().saturating_sub(1)) {
            text = text + "merge map key map[string]interface {}[" + key + "]: ";
        }
        text
    }
}

/// Whether two elements of a keyed list are the same one. Interfaces without a name compare by their selector, and a
/// selector that sets `physical` is never the same as another: Talos compares that one by address.
fn same_element(left: &Value, right: &Value, key: &str) -> bool {
    match right.get(key).filter(|value| !is_zero(value)) {
        Some(value) => left.get(key) == Some(value),
        None if key == "interface" => right
            .get("deviceSelector")
            .is_some_and(|selector| selector.get("physical").is_none() && left.get("deviceSelector") == Some(selector)),
        None => left.get(key).is_none_or(is_zero),
    }
}

/// The upper half of a prefix's address, as Go keeps it: that of an IPv4 address is zero.
fn upper(value: Option<&Value>) -> u64 {
    let prefix = value.and_then(Value::as_str).and_then(|text| text.parse::<ipnet::Ipv6Net>().ok());
    prefix.map_or(0, |prefix| u64::try_from(prefix.addr().to_bits() >> 64).unwrap_or_default())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0s",
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
