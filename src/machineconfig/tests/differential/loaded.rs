//! Secrets bundles that are broken, partial or odd: talosctl reads and checks them with one library.

use serde_json::Value;

use crate::machineconfig::tests::{documents_differ, trees};
use crate::machineconfig::{Bundle, BundleError};

/// A bundle's text, with what is wrong with it.
pub(super) fn check(case: &Value) -> Result<(), String> {
    let made = Bundle::parse(case["secrets"].as_str().expect("text"));
    let said: Vec<&str> = case["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match made {
        _ if case["outcome"] == "panic" => Ok(()),
        Err(BundleError::Invalid(ours)) if case["outcome"] == "ok" => {
            if ours == said {
                Ok(())
            } else {
                Err(format!("errors\n  ours   {}\n  theirs {}", serde_json::json!(ours), serde_json::json!(said)))
            }
        }
        Err(_) if case["outcome"] == "error" => Ok(()),
        Err(error) => Err(format!("we refuse\n  {error} {said:?}")),
        Ok(_) if case["outcome"] == "error" => Err(format!("they refuse\n  {}", case["error"])),
        Ok(_) if !said.is_empty() => Err(format!("they refuse\n  {said:?}")),
        Ok(made) => {
            let theirs = trees(case["out"].as_str().expect("text"));
            let difference = documents_differ(&trees(made.to_yaml().expose()), &theirs);
            difference.map_or(Ok(()), |difference| Err(format!("result\n  {difference}")))
        }
    }
}
