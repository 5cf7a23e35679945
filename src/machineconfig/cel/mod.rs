//! CEL expressions, as far as Talos judges them before a machine runs: syntax, names, types.
//!
//! Disk, volume and link selectors are CEL. Talos parses and type-checks them with cel-go while it validates, and a
//! selector that fails there stops the machine from taking its configuration, so the same has to be found here, in the
//! same words. Nothing is evaluated: no disk is at hand. Texts and positions were observed on Talos 1.11 to 1.14, which
//! agree; recovery after a syntax error follows the parser that cel-go uses only for one token too many or too few.

mod check;
mod lex;
mod overloads;
mod parse;
mod scope;
mod tree;

pub(super) use scope::Scope;

use super::minor::Minor;

/// What is wrong with an expression that has to give a truth value; the text is what Talos prints.
pub(super) fn problem(source: &str, scope: Scope, minor: &Minor) -> Option<String> {
    let parsed = parse::parse(source);
    let faults = match parsed {
        Err(faults) => faults,
        Ok(tree) => {
            let (output, faults) = check::check(&tree, scope, minor);
            let wanted = scope.output();
            if faults.is_empty() && output != wanted {
                return Some(format!("expression output type is {}, expected {}", output.full(), wanted.full()));
            }
            faults
        }
    };
    (!faults.is_empty()).then(|| show(source, faults))
}

/// A complaint about the symbol at a position, counted in symbols.
#[derive(Debug)]
struct Fault {
    at: usize,
    text: String,
}

/// A longer line is not shown.
const LONGEST_LINE: usize = 16 << 10;

fn show(source: &str, mut faults: Vec<Fault>) -> String {
    faults.sort_by_key(|fault| fault.at);
    let symbols: Vec<char> = source.chars().collect();
    let shown = faults.iter().map(|Fault { at, text }| {
        let before = &symbols[..(*at).min(symbols.len())];
        let row = before.iter().filter(|symbol| **symbol == '\n').count() + 1;
        let column = before.iter().rev().take_while(|symbol| **symbol != '\n').count();
        let line = source.split('\n').nth(row - 1).unwrap_or_default().replace('\t', " ");
        let said = format!("ERROR: <input>:{row}:{}: {text}", column + 1);
        if line.len() > LONGEST_LINE {
            return said;
        }
        // Below what is not ASCII stand signs as wide as most of it is (cel-go: common/error.go).
        let narrow = |symbol: Option<char>| symbol.is_none_or(|symbol| symbol.is_ascii());
        let dots = line.chars().take(column).map(|symbol| if narrow(Some(symbol)) { '.' } else { '．' });
        let caret = if narrow(line.chars().nth(column)) { '^' } else { '＾' };
        let pointer: String = dots.chain([caret]).collect();
        format!("{said}\n | {line}\n | {pointer}")
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
