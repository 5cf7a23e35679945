//! Configurations from random options. Talos 1.14 is what the generator speaks for; what the older ones made of the
//! same options is only validated, in their own words.

use serde_json::Value;

use super::check_verdict;
use crate::inventory::Role;
use crate::machineconfig::tests::gen_config::input;
use crate::machineconfig::tests::{bundle, documents_differ, trees};
use crate::machineconfig::{Contract, Documents, Minor, generate};

pub(super) fn check(case: &Value) -> Result<(), String> {
    let options = &case["options"];
    let minor = Minor::parse(case["minor"].as_str().expect("text")).expect("known");
    let theirs = case["out"].as_str().expect("text");
    if minor != Minor::NEWEST {
        if case["outcome"] != "ok" {
            return Ok(());
        }
        // The older writers have bugs of their own: what they wrote of odd texts reads differently, or not at all.
        let Ok(documents) = Documents::parse_for(theirs, &minor) else { return Ok(()) };
        return check_verdict(&documents, case, &minor);
    }
    let contract = Contract::parse(options["contract"].as_str().expect("text")).expect("a contract");
    let bundle = bundle(&format!("secrets/secrets-{}.yaml", case["secrets"].as_str().expect("text")));
    let role = if options["role"] == "worker" { Role::Worker } else { Role::ControlPlane };
    let made = match (generate(&contract, &bundle, role, &input(options)), case["outcome"].as_str().expect("text")) {
        (Err(_), "panic") => return Ok(()),
        (Err(error), "error") if case["error"] == error.to_string() => return Ok(()),
        (Err(error), "error") => return Err(format!("error text\n  ours   {error}\n  theirs {}", case["error"])),
        (Err(error), _) => return Err(format!("we refuse\n  {error}: {:?}", std::error::Error::source(&error))),
        (Ok(_), "panic") => return Err("they refuse\n  a panic".to_owned()),
        (Ok(_), "error") => return Err(format!("they refuse\n  {}", case["error"])),
        (Ok(made), _) => made,
    };
    if let Some(difference) = documents_differ(&made.trees(), &trees(theirs)) {
        return Err(format!("result\n  {difference}"));
    }
    check_verdict(&made, case, &minor)
}
