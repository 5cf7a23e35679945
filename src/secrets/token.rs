//! A Proxmox API token: who it is, and the secret.

use super::{Secret, SecretError};

/// An API token as the `Authorization` header wants it. No `Debug`: it holds the secret.
#[derive(Clone)]
pub struct Token {
    /// `USER@REALM!NAME`: shown to people and put into messages.
    pub id: String,
    pub secret: Secret,
}

impl Token {
    /// Reads a token from what a provider keeps: the id on the first line that is not empty and the secret on the
    /// last one, or both as `USER@REALM!NAME=SECRET` in one line.
    ///
    /// The id has the form that pve-access-control 9.1 checks: user without blanks, `:` and `/`, realm and
    /// token name of a letter and at least one more of `[A-Za-z0-9._-]`.
    pub fn parse(text: &Secret) -> Result<Self, SecretError> {
        let mut lines = text.expose().lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().ok_or(SecretError::NoToken("there is no text"))?;
        let (id, secret) = match lines.next_back() {
            Some(last) => (first, last),
            None => first.split_once('=').ok_or(SecretError::NoToken("there is only one line, without ="))?,
        };
        if !is_token_id(id) {
            return Err(SecretError::NoToken("its id is malformed"));
        }
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SecretError::NoToken("its secret is empty or holds blanks or unprintable characters"));
        }
        Ok(Self { id: id.to_owned(), secret: Secret::new(secret) })
    }

    /// `USER@REALM`: the owner, whose privileges bound those of the token.
    pub fn user(&self) -> &str {
        self.id.split_once('!').map_or(self.id.as_str(), |(user, _)| user)
    }
}

fn is_token_id(id: &str) -> bool {
    let Some((user_and_realm, name)) = id.rsplit_once('!') else { return false };
    let Some((user, realm)) = user_and_realm.rsplit_once('@') else { return false };
    let user_ok = !user.is_empty() && !user.contains(|c: char| c.is_whitespace() || c.is_control() || ":/".contains(c));
    user_ok && is_word(realm) && is_word(name)
}

fn is_word(text: &str) -> bool {
    text.len() >= 2
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "00000000-0000-4000-8000-000000000012";

    fn parse(text: &str) -> Result<(String, String), String> {
        Token::parse(&Secret::new(text))
            .map(|token| (token.id, token.secret.expose().to_owned()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_are_read() {
        let expected = Ok(("talos@pve!pvetalos".to_owned(), SECRET.to_owned()));
        for text in [
            format!("talos@pve!pvetalos={SECRET}"),
            format!("talos@pve!pvetalos={SECRET}\n"),
            format!("\n talos@pve!pvetalos \n{SECRET}\n\n"),
            format!("talos@pve!pvetalos\r\nurl: https://pve1:8006\r\n{SECRET}\r\n"),
        ] {
            assert_eq!(parse(&text), expected, "{text:?}");
        }
    }

    #[test]
    fn malformed_tokens_are_refused_without_being_shown() {
        for text in [
            String::new(),
            SECRET.into(),
            format!("talos@pve={SECRET}"),
            format!("talos!pvetalos={SECRET}"),
            format!("ta los@pve!pvetalos={SECRET}"),
            format!("talos@pve!p={SECRET}"),
            format!("talos@pve!1p={SECRET}"),
            "talos@pve!pvetalos=".into(),
            "talos@pve!pvetalos\nsecret with blanks".into(),
            "talos@pve!pvetalos=s\u{e9}cret".into(),
        ] {
            let message = parse(&text).expect_err(&text);
            assert!(!message.contains(SECRET) && !message.contains("cret with"), "{message}");
        }
    }
}
