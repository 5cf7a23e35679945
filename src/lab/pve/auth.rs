//! Who is calling: API tokens, and tickets of those who logged in.

use percent_encoding::percent_decode_str;

use super::login::{self, Sessions};
use crate::lab::site::Site;

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `user@realm`
    pub user: String,
    /// The token's name within its user.
    pub token: Option<String>,
    /// The token's rights are intersected with its user's.
    pub separate: bool,
}

impl Identity {
    /// `user@realm!token`, the subject of ACL entries and the owner of tasks.
    pub fn id(&self) -> String {
        match &self.token {
            Some(token) => format!("{}!{token}", self.user),
            None => self.user.clone(),
        }
    }

    /// Root himself, who logged in. A token of his is not.
    pub(super) fn is_root(&self) -> bool {
        self.token.is_none() && self.user == "root@pam"
    }
}

const NO_TICKET: &str = "No ticket";
const FAILED: &str = "Authentication failed!";
const FORGED: &str = "Permission denied - invalid csrf token";

/// What a request shows of who sent it.
pub(super) struct Shown<'a> {
    pub cookie: Option<&'a str>,
    pub authorization: Option<&'a [u8]>,
    /// Header `CSRFPreventionToken`.
    pub csrf: Option<&'a str>,
    /// A ticket alone is not enough for it.
    pub writes: bool,
}

/// Who is calling. The error is the reason phrase of the 401. A ticket wins over any token.
pub(super) fn caller(site: &Site, sessions: &Sessions, shown: &Shown, now: i64) -> Result<Identity, &'static str> {
    let header = shown.authorization.and_then(|header| std::str::from_utf8(header).ok());
    let ticket = shown.cookie.and_then(cookie).or_else(|| value(header?, "PVEAuthCookie"));
    let Some(ticket) = ticket.filter(|ticket| !ticket.is_empty()) else {
        return by_token(site, header.ok_or(NO_TICKET)?, now);
    };
    let ticket = percent_decode_str(ticket).decode_utf8().map_err(|_| FAILED)?;
    let user = sessions.user(&ticket, now).filter(|user| login::is_enabled(site, user, now)).ok_or(FAILED)?;
    if shown.writes && shown.csrf.and_then(|token| sessions.user(token, now)) != Some(user) {
        return Err(FORGED);
    }
    Ok(Identity { user: user.to_owned(), token: None, separate: false })
}

/// Whether an API token is shown, a right one or a wrong one.
pub(super) fn shows_token(shown: &Shown) -> bool {
    let header = shown.authorization.and_then(|header| std::str::from_utf8(header).ok());
    let token = header.and_then(|header| value(header, "PVEAPIToken"));
    token.is_some_and(|token| !token.is_empty()) && shown.cookie.and_then(cookie).is_none()
}

fn cookie(header: &str) -> Option<&str> {
    header.split(';').find_map(|part| value(part.trim(), "PVEAuthCookie"))
}

/// What stands behind `name` and `=` or a blank, up to a semicolon.
fn value<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    header.strip_prefix(name)?.strip_prefix(['=', ' '])?.split(';').next()
}

/// pve-http-server: `PVEAPIToken`, then `=` or a blank, then the token up to a
/// semicolon, percent-encoded; the scheme's case matters.
fn by_token(site: &Site, header: &str, now: i64) -> Result<Identity, &'static str> {
    let value = value(header, "PVEAPIToken").filter(|value| !value.is_empty()).ok_or(NO_TICKET)?;
    let value = percent_decode_str(value).decode_utf8().map_err(|_| FAILED)?;
    let (id, secret) = value.rsplit_once('=').ok_or(FAILED)?;
    let (user, token) = id.split_once('!').ok_or(FAILED)?;
    let alive = |expire: i64| expire == 0 || expire > now;
    site.users.get(user).filter(|user| user.enable && alive(user.expire)).ok_or(FAILED)?;
    let found = site.tokens.get(id).filter(|found| found.secret == secret && alive(found.expire)).ok_or(FAILED)?;
    Ok(Identity { user: user.to_owned(), token: Some(token.to_owned()), separate: found.privsep })
}
