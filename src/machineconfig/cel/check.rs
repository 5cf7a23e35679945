//! Types, as cel-go's checker finds them.

use std::fmt;

use super::parse::{Node, Tree};
use super::{Fault, Scope};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    /// By its name, objects included.
    Basic(&'static str),
    /// `list`, `map`, `type`, `optional_type`.
    Of(&'static str, Vec<Type>),
    /// Fits anything.
    Dyn,
    /// Something was wrong below, and has been said.
    Error,
}

const BOOL: Type = Type::Basic("bool");
const INT: Type = Type::Basic("int");
const STRING: Type = Type::Basic("string");
const BYTES: Type = Type::Basic("bytes");
const DURATION: Type = Type::Basic("google.protobuf.Duration");
const TIMESTAMP: Type = Type::Basic("google.protobuf.Timestamp");

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic(name) => f.write_str(name),
            Self::Dyn => f.write_str("dyn"),
            Self::Error => f.write_str("!error!"),
            Self::Of(name, of) => write!(f, "{name}({})", names(of)),
        }
    }
}

fn names(types: &[Type]) -> String {
    types.iter().map(Type::to_string).collect::<Vec<_>>().join(", ")
}

impl Type {
    fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn | Self::Error, _) | (_, Self::Dyn | Self::Error) => true,
            (Self::Of(a, left), Self::Of(b, right)) => {
                a == b && left.len() == right.len() && left.iter().zip(right).all(|(a, b)| a.fits(b))
            }
            (a, b) => a == b,
        }
    }

    fn list(of: Self) -> Self {
        Self::Of("list", vec![of])
    }

    /// What the elements of a literal have in common.
    fn join(types: impl IntoIterator<Item = Self>) -> Self {
        let mut types = types.into_iter();
        let Some(first) = types.next() else { return Self::Dyn };
        if types.all(|next| next == first) { first } else { Self::Dyn }
    }
}

/// The type of the whole, and what is wrong.
pub(super) fn check(tree: &Tree, scope: Scope) -> (Type, Vec<Fault>) {
    let mut checker = Checker { scope, bound: Vec::new(), faults: Vec::new() };
    let output = checker.tree(tree);
    (output, checker.faults)
}

struct Checker {
    scope: Scope,
    /// Variables of folds, innermost last.
    bound: Vec<(String, Type)>,
    faults: Vec<Fault>,
}

impl Checker {
    fn fault(&mut self, at: usize, text: String) -> Type {
        self.faults.push(Fault { at, text });
        Type::Error
    }

    fn undeclared(&mut self, at: usize, name: &str) -> Type {
        self.fault(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn boolean(&mut self, tree: &Tree) {
        let found = self.tree(tree);
        if !BOOL.fits(&found) {
            self.fault(tree.at, format!("expected type 'bool' but found '{found}'"));
        }
    }

    fn tree(&mut self, tree: &Tree) -> Type {
        match &tree.node {
            Node::Literal(name) => Type::Basic(name),
            Node::Name(name) => {
                let bound = self.bound.iter().rev().find(|(bound, _)| bound == name).map(|(_, kind)| kind.clone());
                bound.or_else(|| self.scope.name(name)).unwrap_or_else(|| self.undeclared(tree.at, name))
            }
            Node::Select { of, field } => self.select(tree.at, of, field),
            Node::Has { of, field } => match self.select(tree.at, of, field) {
                Type::Error => Type::Error,
                _ => BOOL,
            },
            Node::List(items) => {
                let types: Vec<Type> = items.iter().map(|item| self.tree(item)).collect();
                Type::list(Type::join(types))
            }
            Node::Map(entries) => {
                let types: Vec<(Type, Type)> =
                    entries.iter().map(|(key, value)| (self.tree(key), self.tree(value))).collect();
                let (keys, values): (Vec<_>, Vec<_>) = types.into_iter().unzip();
                Type::Of("map", vec![Type::join(keys), Type::join(values)])
            }
            Node::Fold { how, of, name, body } => self.fold(how, of, name, body),
            Node::Call { function, arguments, .. } if matches!(function.as_str(), "_&&_" | "_||_") => {
                for argument in arguments {
                    self.boolean(argument);
                }
                BOOL
            }
            Node::Call { function, method, arguments } => self.call(tree.at, function, *method, arguments),
        }
    }

    fn select(&mut self, at: usize, of: &Tree, field: &str) -> Type {
        match self.tree(of) {
            Type::Basic(object) if object.starts_with("talos.") => {
                Scope::field(object, field).unwrap_or_else(|| self.fault(at, format!("undefined field '{field}'")))
            }
            Type::Of("map", mut of) => of.pop().unwrap_or(Type::Dyn),
            kind @ (Type::Dyn | Type::Error) => kind,
            other => self.fault(at, format!("type '{other}' does not support field selection")),
        }
    }

    fn fold(&mut self, how: &str, of: &Tree, name: &str, body: &[Tree]) -> Type {
        let element = match self.tree(of) {
            Type::Of("list" | "map", mut of) => of.swap_remove(0),
            kind @ (Type::Dyn | Type::Error) => kind,
            other => {
                let why = "cannot be range of a comprehension (must be list, map, or dynamic)";
                self.fault(of.at, format!("expression of type '{other}' {why}"))
            }
        };
        self.bound.push((name.to_owned(), element.clone()));
        let mut output = BOOL;
        for (index, part) in body.iter().enumerate() {
            if how == "map" && index + 1 == body.len() {
                output = Type::list(self.tree(part));
            } else {
                self.boolean(part);
            }
        }
        self.bound.pop();
        if how == "filter" { Type::list(element) } else { output }
    }

    fn call(&mut self, at: usize, function: &str, method: bool, arguments: &[Tree]) -> Type {
        let known = self.scope.has_function(function) || is_function(function, method);
        if !known {
            // The name is looked at before the arguments.
            self.undeclared(at, function);
        }
        let types: Vec<Type> = arguments.iter().map(|argument| self.tree(argument)).collect();
        if !known || types.contains(&Type::Error) {
            return Type::Error;
        }
        output(function, method, &types).unwrap_or_else(|| {
            let given = match types.split_first() {
                Some((receiver, rest)) if method => format!("{receiver}.({})", names(rest)),
                _ => format!("({})", names(&types)),
            };
            self.fault(at, format!("found no matching overload for '{function}' applied to '{given}'"))
        })
    }
}

const METHODS: [&str; 18] = [
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "size",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    "orValue",
    "value",
    "hasValue",
];
const FUNCTIONS: [&str; 12] =
    ["size", "matches", "int", "uint", "double", "string", "bytes", "bool", "duration", "timestamp", "type", "dyn"];

fn is_function(name: &str, method: bool) -> bool {
    let operator = name.contains('_') && !name.starts_with(char::is_alphabetic) || name == "@in";
    operator || if method { METHODS.contains(&name) } else { FUNCTIONS.contains(&name) }
}

/// The type of a call; `None` where no overload takes these.
fn output(function: &str, method: bool, types: &[Type]) -> Option<Type> {
    use Type::{Basic, Dyn, Of};
    let all = |wanted: &[&Type]| types.len() == wanted.len() && types.iter().zip(wanted).all(|(a, b)| a.fits(b));
    let one_of = |kind: &Type, names: &[&str]| match kind {
        Basic(name) => names.contains(name),
        Dyn => true,
        _ => false,
    };
    match (function, types) {
        ("_==_" | "_!=_", [a, b]) => a.fits(b).then_some(BOOL),
        ("_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) => {
            let ordered = ["bool", "int", "uint", "double", "string", "bytes"];
            let times = |kind: &Type| *kind == DURATION || *kind == TIMESTAMP;
            (a.fits(b) && (one_of(a, &ordered) || times(a)) && (one_of(b, &ordered) || times(b))).then_some(BOOL)
        }
        ("_+_", [Basic("google.protobuf.Timestamp"), b]) => b.fits(&DURATION).then_some(TIMESTAMP),
        ("_+_", [a, Basic("google.protobuf.Timestamp")]) => a.fits(&DURATION).then_some(TIMESTAMP),
        ("_-_", [Basic("google.protobuf.Timestamp"), b]) if b.fits(&TIMESTAMP) => Some(DURATION),
        ("_-_", [Basic("google.protobuf.Timestamp"), b]) => b.fits(&DURATION).then_some(TIMESTAMP),
        ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [a, b]) => {
            let texts = function == "_+_" && (one_of(a, &["string", "bytes"]) || matches!(a, Of("list", _)));
            let spans = matches!(function, "_+_" | "_-_") && *a == DURATION;
            let floats = function != "_%_" && one_of(a, &["double"]);
            let ok = a.fits(b) && (one_of(a, &["int", "uint"]) || floats || texts || spans);
            ok.then(|| if *a == Dyn { b.clone() } else { a.clone() })
        }
        ("@in", [item, Of("list" | "map", of)]) => item.fits(&of[0]).then_some(BOOL),
        ("@in", [_, Dyn]) | ("hasValue", [Of("optional_type", _)]) => Some(BOOL),
        ("!_", [a]) => BOOL.fits(a).then_some(BOOL),
        ("-_", [a]) => (one_of(a, &["int", "double"]) || *a == DURATION).then(|| a.clone()),
        ("_[_]", [Of("list", of), index]) => INT.fits(index).then(|| of[0].clone()),
        ("_[_]", [Of("map", of), key]) => of[0].fits(key).then(|| of[1].clone()),
        ("_?_:_", [condition, yes, no]) => {
            (BOOL.fits(condition) && yes.fits(no)).then(|| if *yes == Dyn { no.clone() } else { yes.clone() })
        }
        ("startsWith" | "endsWith" | "contains" | "matches" | "glob", _) => all(&[&STRING, &STRING]).then_some(BOOL),
        ("mac", _) => all(&[&BYTES]).then_some(STRING),
        ("size", [a]) => (one_of(a, &["string", "bytes"]) || matches!(a, Of("list" | "map", _))).then_some(INT),
        ("dyn", [_]) | ("_[_]", [Dyn, _]) => Some(Dyn),
        ("type", [a]) => Some(Of("type", vec![a.clone()])),
        ("orValue", [Of("optional_type", of), other]) => of[0].fits(other).then(|| of[0].clone()),
        ("value", [Of("optional_type", of)]) => Some(of[0].clone()),
        ("multiply_qos_vectors", _) => {
            let vector = Of("map", vec![Dyn, Basic("double")]);
            all(&[&vector, &vector]).then_some(Basic("double"))
        }
        ("duration", [a]) => one_of(a, &["string", "int", "google.protobuf.Duration"]).then_some(DURATION),
        ("timestamp", [a]) => one_of(a, &["string", "int", "google.protobuf.Timestamp"]).then_some(TIMESTAMP),
        ("bytes", [a]) => one_of(a, &["bytes", "string"]).then_some(BYTES),
        ("bool", [a]) => one_of(a, &["bool", "string"]).then_some(BOOL),
        ("int", [a]) => {
            let times = ["google.protobuf.Timestamp", "google.protobuf.Duration"];
            (one_of(a, &["int", "uint", "double", "string"]) || one_of(a, &times)).then_some(INT)
        }
        ("uint", [a]) => one_of(a, &["int", "uint", "double", "string"]).then_some(Basic("uint")),
        ("double", [a]) => one_of(a, &["int", "uint", "double", "string"]).then_some(Basic("double")),
        ("string", [a]) => {
            (one_of(a, &["bool", "int", "uint", "double", "string", "bytes"]) || *a == DURATION || *a == TIMESTAMP)
                .then_some(STRING)
        }
        (name, [a, zone @ ..]) if method && name.starts_with("get") => {
            let zoned = zone.is_empty() || (zone.len() == 1 && STRING.fits(&zone[0]) && *a != DURATION);
            ((one_of(a, &["google.protobuf.Timestamp"]) || *a == DURATION) && zoned).then_some(INT)
        }
        _ => None,
    }
}
