//! Tokens to a tree.

use super::Fault;
use super::lex::{Kind, Token, lex};
use super::tree::{Node, Tree, call, path};

const OPERAND: &str =
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
/// What may follow an opening bracket, where more than an operand may.
const ARGUMENT: &str = "{'[', '{', '(', ')', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, \
                        STRING, BYTES, IDENTIFIER}";
const ELEMENT: &str = "{'[', ']', '{', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, \
                       NUM_UINT, STRING, BYTES, IDENTIFIER}";
const ENTRY: &str = "{'[', '{', '}', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, \
                     NUM_UINT, STRING, BYTES, IDENTIFIER}";
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
/// Deeper nesting than any selector has, and than a stack should be asked to hold.
const DEPTH: usize = 64;

pub(super) fn parse(source: &str) -> Result<Tree, Vec<Fault>> {
    let (tokens, faults) = lex(source);
    let mut parser = Parser { tokens, next: 0, faults, depth: 0 };
    let tree = parser.expression();
    if tree.is_some() && parser.peek().kind != Kind::End {
        let single = parser.tokens[parser.next + 1].kind == Kind::End;
        parser.unexpected(if single { "extraneous" } else { "mismatched" }, "<EOF>");
    }
    tree.filter(|_| parser.faults.is_empty()).ok_or(parser.faults)
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    faults: Vec<Fault>,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next]
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        // The end stays, however often it is taken.
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn accept(&mut self, marks: &[&str]) -> Option<Token> {
        marks.iter().any(|mark| self.peek().is(mark)).then(|| self.take())
    }

    fn fault(&mut self, at: usize, text: impl Into<String>) {
        self.faults.push(Fault { at, text: text.into() });
    }

    fn unexpected(&mut self, how: &str, expected: &str) {
        let Token { text, at, .. } = self.peek().clone();
        self.fault(at, format!("Syntax error: {how} input '{text}' expecting {expected}"));
    }

    /// A mark that has to be here. One token too many before it is passed over; a closing bracket that is missing at
    /// the end is thought in, which is worth one complaint, however many are missing.
    fn expect(&mut self, mark: &str) -> Option<()> {
        if self.accept(&[mark]).is_some() {
            return Some(());
        }
        let wanted = format!("'{mark}'");
        if self.tokens.get(self.next + 1).is_some_and(|token| token.is(mark)) {
            self.unexpected("extraneous", &wanted);
            self.next += 2;
            return Some(());
        }
        let at = self.peek().at;
        if mark == ")" && self.peek().kind == Kind::End {
            if !self.faults.iter().any(|fault| fault.at == at) {
                self.fault(at, format!("Syntax error: missing {wanted} at '<EOF>'"));
            }
            return Some(());
        }
        self.unexpected("mismatched", &wanted);
        None
    }

    fn expression(&mut self) -> Option<Tree> {
        if self.depth >= DEPTH {
            let at = self.peek().at;
            self.fault(at, format!("expression recursion limit exceeded: {DEPTH}"));
            return None;
        }
        self.depth += 1;
        let tree = self.conditional();
        self.depth -= 1;
        tree
    }

    fn conditional(&mut self) -> Option<Tree> {
        let condition = self.binary(0)?;
        let Some(mark) = self.accept(&["?"]) else { return Some(condition) };
        let yes = self.binary(0)?;
        self.expect(":")?;
        let no = self.expression()?;
        Some(call(mark.at, "_?_:_", vec![condition, yes, no]))
    }

    fn binary(&mut self, level: usize) -> Option<Tree> {
        const LEVELS: [&[&str]; 5] =
            [&["||"], &["&&"], &["<", "<=", ">", ">=", "==", "!=", "in"], &["+", "-"], &["*", "/", "%"]];
        let Some(marks) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(mark) = self.accept(marks) {
            let right = self.binary(level + 1)?;
            let function = if mark.text == "in" { "@in".to_owned() } else { format!("_{}_", mark.text) };
            left = call(mark.at, &function, vec![left, right]);
        }
        Some(left)
    }

    fn unary(&mut self) -> Option<Tree> {
        let Some(mark) = self.accept(&["!", "-"]) else { return self.member() };
        let end = self.peek().clone();
        if end.kind == Kind::End {
            let how = if mark.text == "!" { "extraneous" } else { "mismatched" };
            if mark.text == "-" {
                self.fault(end.at, "Syntax error: no viable alternative at input '-'");
            }
            self.unexpected(how, OPERAND);
            return None;
        }
        // Two of a kind cancel out; a sign before a number belongs to the number.
        if self.depth >= DEPTH {
            return self.expression();
        }
        self.depth += 1;
        let operand = self.unary();
        self.depth -= 1;
        let operand = operand?;
        if mark.text == "-" && matches!(operand.node, Node::Literal("int" | "double")) {
            return Some(Tree { at: mark.at, ..operand });
        }
        Some(call(mark.at, &format!("{}_", mark.text), vec![operand]))
    }

    fn member(&mut self) -> Option<Tree> {
        let mut tree = self.primary()?;
        loop {
            if let Some(dot) = self.accept(&["."]) {
                if self.peek().kind != Kind::Word {
                    let at = self.peek().at;
                    let text = if self.peek().kind == Kind::End { "" } else { self.peek().text.as_str() };
                    let text = format!("Syntax error: no viable alternative at input '.{text}'");
                    self.fault(at, text);
                    return None;
                }
                let field = self.take().text;
                tree = match self.accept(&["("]) {
                    Some(open) => {
                        let arguments = self.arguments()?;
                        self.method(open.at, tree, field, arguments)
                    }
                    None => Tree { at: dot.at, node: Node::Select { of: Box::new(tree), field } },
                };
            } else if let Some(open) = self.accept(&["["]) {
                let index = self.expression()?;
                self.expect("]")?;
                tree = call(open.at, "_[_]", vec![tree, index]);
            } else if let Some(name) = path(&tree).filter(|_| self.peek().is("{")) {
                let open = self.take();
                self.fields()?;
                tree = Tree { at: open.at, node: Node::Message { name } };
            } else {
                return Some(tree);
            }
        }
    }

    /// Up to the closing bracket.
    fn arguments(&mut self) -> Option<Vec<Tree>> {
        let mut list = Vec::new();
        if self.accept(&[")"]).is_some() {
            return Some(list);
        }
        if self.peek().kind == Kind::End {
            self.unexpected("mismatched", ARGUMENT);
            return None;
        }
        loop {
            list.push(self.expression()?);
            if self.accept(&[","]).is_none() {
                self.expect(")")?;
                return Some(list);
            }
        }
    }

    fn method(&mut self, at: usize, of: Tree, function: String, mut arguments: Vec<Tree>) -> Tree {
        let folds = match (function.as_str(), arguments.len()) {
            ("all" | "exists" | "exists_one" | "filter" | "map", 2) => true,
            (name, count) => name == "map" && count == 3,
        };
        if folds {
            let first = arguments.remove(0);
            let name = if let Node::Name(name) = first.node {
                name
            } else {
                self.fault(first.at, "argument must be a simple name");
                String::new()
            };
            return Tree { at, node: Node::Fold { how: function, of: Box::new(of), name, body: arguments } };
        }
        arguments.insert(0, of);
        Tree { at, node: Node::Call { function, method: true, arguments } }
    }

    fn primary(&mut self) -> Option<Tree> {
        if !self.peek().begins_operand() {
            let extra =
                self.peek().kind != Kind::End && self.tokens.get(self.next + 1).is_some_and(Token::begins_operand);
            self.unexpected(if extra { "extraneous" } else { "mismatched" }, OPERAND);
            if !extra {
                return None;
            }
            self.take();
        }
        let token = self.take();
        let Token { kind, text, at } = token;
        let node = match kind {
            Kind::Int | Kind::Uint => return Some(self.integer(at, &text, kind)),
            Kind::Float => Node::Literal("double"),
            Kind::Text => Node::Literal("string"),
            Kind::Bytes => Node::Literal("bytes"),
            Kind::Word => return self.word(at, text),
            Kind::End => return None,
            Kind::Mark => match text.as_str() {
                "true" | "false" => Node::Literal("bool"),
                "null" => Node::Literal("null_type"),
                "(" => {
                    let inner = self.expression()?;
                    self.expect(")")?;
                    return Some(inner);
                }
                "[" => Node::List(self.list()?),
                "{" => Node::Map(self.map()?),
                "." if self.peek().kind == Kind::Word => {
                    // From the root, where no variable of a fold is; errors name it with its dot.
                    let word = self.take();
                    let Tree { at, node } = self.word(word.at, word.text)?;
                    let node = if let Node::Name(name) = node { Node::Name(format!(".{name}")) } else { node };
                    return Some(Tree { at, node });
                }
                _ => {
                    self.unexpected("mismatched", "IDENTIFIER");
                    return None;
                }
            },
        };
        Some(Tree { at, node })
    }

    fn integer(&mut self, at: usize, text: &str, kind: Kind) -> Tree {
        let (name, digits) = if kind == Kind::Uint { ("uint", &text[..text.len() - 1]) } else { ("int", text) };
        let radix = digits.strip_prefix("0x").map_or_else(|| digits.parse(), |hex| u64::from_str_radix(hex, 16));
        // A sign may stand before the literal, and then one more fits.
        let least = self.next >= 2 && self.tokens[self.next - 2].is("-");
        let fits = match radix {
            Ok(value) if kind == Kind::Int => value <= i64::MAX.unsigned_abs() + u64::from(least),
            other => other.is_ok(),
        };
        if !fits {
            self.fault(at, format!("invalid {name} literal"));
        }
        Tree { at, node: Node::Literal(name) }
    }

    fn word(&mut self, at: usize, text: String) -> Option<Tree> {
        if let Some(open) = self.accept(&["("]) {
            let mut arguments = self.arguments()?;
            if text != "has" || arguments.len() != 1 {
                return Some(Tree { at: open.at, node: Node::Call { function: text, method: false, arguments } });
            }
            let argument = arguments.remove(0);
            let argument_at = argument.at;
            return Some(if let Node::Select { of, field } = argument.node {
                Tree { at: open.at, node: Node::Has { of, field } }
            } else {
                self.fault(argument_at, "invalid argument to has() macro");
                Tree { at: open.at, node: Node::Literal("bool") }
            });
        }
        if RESERVED.contains(&text.as_str()) {
            self.fault(at, format!("reserved identifier: {text}"));
        }
        Some(Tree { at, node: Node::Name(text) })
    }

    fn list(&mut self) -> Option<Vec<Tree>> {
        let mut items = Vec::new();
        if self.peek().kind == Kind::End {
            self.unexpected("mismatched", ELEMENT);
            return None;
        }
        while self.accept(&["]"]).is_none() {
            items.push(self.expression()?);
            if self.accept(&[","]).is_none() && !self.peek().is("]") {
                self.unexpected("mismatched", "{']', ','}");
                return None;
            }
        }
        Some(items)
    }

    /// Fields of a message up to the closing brace.
    fn fields(&mut self) -> Option<()> {
        while self.accept(&["}"]).is_none() {
            if self.peek().kind != Kind::Word {
                self.unexpected("mismatched", "{'}', ',', '?', IDENTIFIER}");
                return None;
            }
            self.take();
            self.expect(":")?;
            self.expression()?;
            if self.accept(&[","]).is_none() && !self.peek().is("}") {
                self.unexpected("mismatched", "{'}', ','}");
                return None;
            }
        }
        Some(())
    }

    fn map(&mut self) -> Option<Vec<(Tree, Tree)>> {
        let mut entries = Vec::new();
        if self.peek().kind == Kind::End {
            self.unexpected("mismatched", ENTRY);
            return None;
        }
        while self.accept(&["}"]).is_none() {
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?));
            if self.accept(&[","]).is_none() && !self.peek().is("}") {
                self.unexpected("mismatched", "{'}', ','}");
                return None;
            }
        }
        Some(entries)
    }
}
