//! A configuration from anywhere, read as every minor reads it: refused, or written so that it reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pvetalos::machineconfig::view::View;
use pvetalos::machineconfig::{Documents, Minor, Mode, advice, redact, validate};

fuzz_target!(|text: &str| {
    for minor in ["1.9", "1.11", "1.12", "1.13", "1.14"] {
        let minor = Minor::parse(minor).expect("known");
        let Ok(documents) = Documents::parse_for(text, &minor) else { continue };
        for mode in [Mode::Metal, Mode::Cloud, Mode::Container] {
            let verdict = validate(&documents, mode, true, &minor);
            assert_eq!(verdict.text(&minor).is_some(), !verdict.is_valid());
        }
        View::of(&documents);
        advice::feature_gates(&[("a", &documents), ("b", &documents)]);
        advice::local_logging(&documents);
        redact::redacted(&documents);
        let written = documents.to_yaml();
        let again = Documents::parse_for(&written, &minor).unwrap_or_else(|error| panic!("{error}:\n{written}"));
        assert!(again.trees() == documents.trees(), "reads as something else:\n{written}");
    }
});
