//! Types, as cel-go's checker finds them.

use std::fmt;

use super::tree::{Node, Tree};
use super::{Fault, Scope, overloads};
use crate::machineconfig::minor::Minor;

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

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Complaints have short names for these.
            Self::Basic("google.protobuf.Duration") => f.write_str("duration"),
            Self::Basic("google.protobuf.Timestamp") => f.write_str("timestamp"),
            Self::Basic("null_type") => f.write_str("null"),
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
    /// The name as the result of a whole expression has it.
    pub(super) fn full(&self) -> String {
        match self {
            Self::Basic(name) => (*name).to_owned(),
            Self::Of(name, of) => format!("{name}({})", of.iter().map(Self::full).collect::<Vec<_>>().join(", ")),
            other => other.to_string(),
        }
    }

    pub(super) fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn | Self::Error, _) | (_, Self::Dyn | Self::Error) => true,
            (Self::Of(a, left), Self::Of(b, right)) => {
                a == b && left.len() == right.len() && left.iter().zip(right).all(|(a, b)| a.fits(b))
            }
            // Times, objects and what may be absent can be null.
            (Self::Basic("null_type"), Self::Basic(name)) => *name == "null_type" || name.contains('.'),
            (Self::Basic("null_type"), Self::Of(name, _)) => *name == "optional_type",
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
pub(super) fn check(tree: &Tree, scope: Scope, minor: &Minor) -> (Type, Vec<Fault>) {
    let mut checker = Checker { scope, minor, bound: Vec::new(), faults: Vec::new() };
    let output = checker.tree(tree);
    (output, checker.faults)
}

struct Checker<'a> {
    scope: Scope,
    minor: &'a Minor,
    /// Variables of folds, innermost last.
    bound: Vec<(String, Type)>,
    faults: Vec<Fault>,
}

impl Checker<'_> {
    fn fault(&mut self, at: usize, text: String) -> Type {
        self.faults.push(Fault { at, text });
        Type::Error
    }

    fn undeclared(&mut self, at: usize, name: &str) -> Type {
        self.fault(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    /// Whether it is a truth value; if not, that is said.
    fn boolean(&mut self, tree: &Tree) -> bool {
        let found = self.tree(tree);
        let fine = BOOL.fits(&found);
        if !fine {
            self.fault(tree.at, format!("expected type 'bool' but found '{found}'"));
        }
        fine
    }

    fn tree(&mut self, tree: &Tree) -> Type {
        match &tree.node {
            Node::Literal(name) => Type::Basic(name),
            Node::Name(name) => {
                let bound = self.bound.iter().rev().find(|(bound, _)| bound == name).map(|(_, kind)| kind.clone());
                bound.or_else(|| self.scope.name(name)).unwrap_or_else(|| self.undeclared(tree.at, name))
            }
            Node::Select { of, field } => self.select(tree.at, of, field),
            Node::Has { of, field } => {
                self.select(tree.at, of, field);
                BOOL
            }
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
                let fine = arguments.iter().fold(true, |fine, argument| self.boolean(argument) && fine);
                if fine { BOOL } else { Type::Error }
            }
            Node::Message { name } => self.message(tree.at, name),
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

    /// No type that can be put together so is known here, so this is wrong in one of three ways.
    fn message(&mut self, at: usize, name: &str) -> Type {
        match self.scope.name(name) {
            None => self.undeclared(at, name),
            Some(Type::Of("type", _)) => self.fault(at, format!("'{name}' is not a message type")),
            Some(other) => self.fault(at, format!("'{other}' is not a type")),
        }
    }

    fn fold(&mut self, how: &str, of: &Tree, name: &str, body: &[Tree]) -> Type {
        let element = match self.tree(of) {
            Type::Of("list" | "map", mut of) => of.swap_remove(0),
            Type::Dyn | Type::Error => Type::Dyn,
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
        let types: Vec<Type> = arguments.iter().map(|argument| self.tree(argument)).collect();
        if !overloads::is_known(function, self.scope, self.minor) {
            return self.undeclared(at, function);
        }
        overloads::output(function, method, &types, self.scope, self.minor).unwrap_or_else(|| {
            let given = match types.split_first() {
                Some((receiver, rest)) if method => format!("{receiver}.({})", names(rest)),
                _ => format!("({})", names(&types)),
            };
            self.fault(at, format!("found no matching overload for '{function}' applied to '{given}'"))
        })
    }
}
