//! How a face obeys the script: one way in, and one way out, for all of them.

use std::time::Duration;

use super::{Damage, Effect, Face};
use crate::lab::http::{Hangup, Peer, Response};
use crate::lab::world::Shared;

/// How a connection ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lab) enum Ending {
    Closed,
    Reset,
}

/// Why a call is not served.
pub(in crate::lab) enum Fate {
    Refused { code: u16, text: String },
    Ended(Ending),
}

/// What becomes of the answer to a call that is served.
pub(in crate::lab) enum Spoil {
    Nothing,
    Failed {
        code: u16,
        text: String,
    },
    Ended(Ending),
    /// It never comes.
    Never(Never),
    Damaged(Damage),
}

/// Reports the call, lets happen what the script says, and waits as long as it says.
pub(in crate::lab) async fn enter(shared: &Shared, face: Face, name: &str, subject: &str) -> Result<Spoil, Fate> {
    let effect = shared.observe(face, name, subject);
    Ok(match effect {
        // Events have happened, and what flaps says how each time.
        None | Some(Effect::Event(_) | Effect::Flap(_)) => Spoil::Nothing,
        Some(Effect::Refuse { code, text }) => return Err(Fate::Refused { code, text }),
        Some(Effect::LoseRequest) => return Err(Fate::Ended(Ending::Closed)),
        Some(Effect::Reset) => return Err(Fate::Ended(Ending::Reset)),
        Some(Effect::Silent) => Never(shared.clone()).comes().await,
        Some(Effect::Delay { millis }) => {
            pause(Duration::from_millis(millis)).await;
            Spoil::Nothing
        }
        Some(Effect::ActThenFail { code, text }) => Spoil::Failed { code, text },
        Some(Effect::LoseReply) => Spoil::Ended(Ending::Closed),
        Some(Effect::ActThenReset) => Spoil::Ended(Ending::Reset),
        Some(Effect::ActThenSilent) => Spoil::Never(Never(shared.clone())),
        Some(Effect::Corrupt(damage)) => Spoil::Damaged(damage),
    })
}

/// An answer that never comes.
pub(in crate::lab) struct Never(Shared);

impl Never {
    pub(in crate::lab) async fn comes<T>(self) -> T {
        self.0.fall_silent();
        std::future::pending().await
    }
}

impl Spoil {
    /// The answer of an HTTP face as the caller gets it; `failure` words one that says that it failed.
    pub(in crate::lab) async fn http(
        self,
        peer: &Peer,
        response: Response,
        failure: impl FnOnce(u16, &str) -> Response,
    ) -> Result<Response, Hangup> {
        match self {
            Self::Nothing => Ok(response),
            Self::Failed { code, text } => Ok(failure(code, &text)),
            Self::Ended(ending) => Err(peer.end(ending)),
            Self::Never(never) => never.comes().await,
            Self::Damaged(Damage::Broken) => {
                peer.line.break_off();
                Ok(response)
            }
            Self::Damaged(damage) => Ok(crate::lab::http::rewritten(response, |bytes| match damage {
                Damage::Halved => bytes[..bytes.len() / 2].to_vec(),
                Damage::Garbled | Damage::Broken => garbled(bytes),
            })
            .await),
        }
    }
}

impl Peer {
    pub(in crate::lab) fn end(&self, ending: Ending) -> Hangup {
        if ending == Ending::Reset {
            self.line.reset();
        }
        Hangup
    }
}

/// Other bytes, none of which JSON, YAML, protobuf or an image could begin with.
pub(in crate::lab) fn garbled(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte | 0x80).collect()
}

#[expect(clippy::disallowed_methods, reason = "a delay that the script of faults asks for")]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}
