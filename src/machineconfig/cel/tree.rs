//! What an expression is made of.

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) at: usize,
    pub(super) node: Node,
}

#[derive(Debug)]
pub(super) enum Node {
    Literal(&'static str),
    Name(String),
    Select {
        of: Box<Tree>,
        field: String,
    },
    /// `has(x.y)`: a test, not a value.
    Has {
        of: Box<Tree>,
        field: String,
    },
    /// An operator by its name in overloads, `_+_`, or a function; with the receiver of a method first.
    Call {
        function: String,
        method: bool,
        arguments: Vec<Tree>,
    },
    List(Vec<Tree>),
    /// `a.b{c: d}`; what its fields are is not looked into.
    Message {
        name: String,
    },
    Map(Vec<(Tree, Tree)>),
    /// `of.exists(name, body)` and its like.
    Fold {
        how: String,
        of: Box<Tree>,
        name: String,
        body: Vec<Tree>,
    },
}

/// `a.b.c` as one name.
pub(super) fn path(tree: &Tree) -> Option<String> {
    match &tree.node {
        Node::Name(name) => Some(name.clone()),
        Node::Select { of, field } => Some(format!("{}.{field}", path(of)?)),
        _ => None,
    }
}

pub(super) fn call(at: usize, function: &str, arguments: Vec<Tree>) -> Tree {
    Tree { at, node: Node::Call { function: function.to_owned(), method: false, arguments } }
}
