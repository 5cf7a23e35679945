//! A secrets bundle from anywhere: read or refused, and what was read is written so that it reads again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pvetalos::machineconfig::{Bundle, redact};

fuzz_target!(|text: &str| {
    if let Ok(bundle) = Bundle::parse(text) {
        let written = bundle.to_yaml();
        let again = Bundle::parse(written.expose()).expect("what was written reads again");
        assert!(again.to_yaml().expose() == written.expose(), "and is the same");
    }
    // Refused or not, nothing of it may stop the redaction.
    redact::redacted_text(text).ok();
});
