//! What Perl's JSON decoder says of a text that is none.
//!
//! The server answers with the decoder's own words, which name the place and
//! what was awaited there; serde's words and places are others.

/// What is wrong with `text`, and at which character; nothing when it is JSON.
pub(super) fn of(text: &str) -> Option<String> {
    let mut reader = Reader { text: text.chars().collect(), at: 0 };
    let outcome = reader.value().and_then(|()| {
        reader.blanks();
        if reader.at == reader.text.len() { Ok(()) } else { Err("garbage after JSON object".into()) }
    });
    let rest: String = reader.text[reader.at..].iter().take(SHOWN).collect();
    let before = match reader.text.len() - reader.at {
        0 => "(end of string)".to_owned(),
        left if left > SHOWN => format!("{rest}..."),
        _ => rest,
    };
    outcome.err().map(|fault| format!("{fault}, at character offset {} (before \"{before}\")", reader.at))
}

/// How many characters of the rest are shown.
const SHOWN: usize = 20;

struct Reader {
    text: Vec<char>,
    at: usize,
}

impl Reader {
    fn next(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.next().is_some_and(|next| matches!(next, ' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn skip(&mut self, wanted: char) -> bool {
        let there = self.next() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self) -> Result<(), String> {
        self.blanks();
        match self.next() {
            Some('{') => self.members('}', "object/hash"),
            Some('[') => self.members(']', "array"),
            Some('"') => self.string(),
            Some('t') => self.word("true"),
            Some('f') => self.word("false"),
            Some('n') => self.word("null"),
            Some('-' | '0'..='9') => {
                while self.next().is_some_and(|next| matches!(next, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')) {
                    self.at += 1;
                }
                Ok(())
            }
            _ => Err("malformed JSON string, neither tag, array, object, number, string or atom".into()),
        }
    }

    /// An object or an array, from its opening bracket on.
    fn members(&mut self, end: char, what: &str) -> Result<(), String> {
        self.at += 1;
        self.blanks();
        if self.skip(end) {
            return Ok(());
        }
        loop {
            if end == '}' {
                self.blanks();
                if self.next() != Some('"') {
                    return Err("'\"' expected".into());
                }
                self.string()?;
                self.blanks();
                if !self.skip(':') {
                    return Err("':' expected".into());
                }
            }
            self.value()?;
            self.blanks();
            if self.skip(end) {
                return Ok(());
            }
            if !self.skip(',') {
                return Err(format!(", or {end} expected while parsing {what}"));
            }
        }
    }

    fn string(&mut self) -> Result<(), String> {
        self.at += 1;
        while let Some(next) = self.next() {
            self.at += 1;
            match next {
                '"' => return Ok(()),
                '\\' => self.at += usize::from(self.next().is_some()),
                _ => {}
            }
        }
        Err("unexpected end of string while parsing JSON string".into())
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        let end = self.text.len().min(self.at + word.len());
        if self.text[self.at..end].iter().collect::<String>() != word {
            return Err(format!("'{word}' expected"));
        }
        self.at = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn the_place_and_what_was_awaited_there_are_named() {
        for (text, fault) in [
            (
                "",
                "malformed JSON string, neither tag, array, object, number, string or atom, at character offset 0 (before \"(end of string)\")",
            ),
            (
                r#"{"tags":"a""#,
                ", or } expected while parsing object/hash, at character offset 11 (before \"(end of string)\")",
            ),
            (r#"{"tags":"a"}x"#, "garbage after JSON object, at character offset 12 (before \"x\")"),
            (r#"{"tags":"a",}"#, "'\"' expected, at character offset 12 (before \"}\")"),
            ("{'tags':'a'}", "'\"' expected, at character offset 1 (before \"'tags':'a'}\")"),
            ("tags=d", "'true' expected, at character offset 0 (before \"tags=d\")"),
        ] {
            assert_eq!(of(text).as_deref(), Some(fault));
        }
        assert_eq!(of(r#" {"a": [1, "b\"", null, {}], "c": true} "#), None);
    }
}
