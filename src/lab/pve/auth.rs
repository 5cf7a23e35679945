//! Who is calling: API tokens.

use percent_encoding::percent_decode_str;

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
}

const NO_TICKET: &str = "No ticket";
const FAILED: &str = "Authentication failed!";

/// A login ticket, which wins over any token. Nobody can get one from the lab, so none is valid.
pub(super) fn has_ticket(cookie: Option<&str>) -> bool {
    let cookies = cookie.unwrap_or_default().split(';').filter_map(|part| part.trim().split_once('='));
    cookies.into_iter().any(|(name, value)| name == "PVEAuthCookie" && !value.is_empty())
}

pub(super) const BAD_TICKET: &str = "permission denied - invalid PVE ticket";

/// Reads the Authorization header. The error is the reason phrase of the 401.
///
/// pve-http-server: `PVEAPIToken`, then `=` or a blank, then the token up to a
/// semicolon, percent-encoded; the scheme's case matters.
pub(super) fn authenticate(site: &Site, header: Option<&[u8]>, now: i64) -> Result<Identity, &'static str> {
    let header = std::str::from_utf8(header.ok_or(NO_TICKET)?).map_err(|_| NO_TICKET)?;
    let rest = header.strip_prefix("PVEAPIToken").ok_or(NO_TICKET)?;
    let value = rest.strip_prefix(['=', ' ']).ok_or(NO_TICKET)?.split(';').next().unwrap_or_default();
    if value.is_empty() {
        return Err(NO_TICKET);
    }
    let value = percent_decode_str(value).decode_utf8().map_err(|_| FAILED)?;
    let (id, secret) = value.rsplit_once('=').ok_or(FAILED)?;
    let (user, token) = id.split_once('!').ok_or(FAILED)?;
    let alive = |expire: i64| expire == 0 || expire > now;
    site.users.get(user).filter(|user| user.enable && alive(user.expire)).ok_or(FAILED)?;
    let found = site.tokens.get(id).filter(|found| found.secret == secret && alive(found.expire)).ok_or(FAILED)?;
    Ok(Identity { user: user.to_owned(), token: Some(token.to_owned()), separate: found.privsep })
}
