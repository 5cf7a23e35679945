//! Which resources a list or a watch is about: by id, by labels.
//!
//! COSI 1.14: pkg/state/impl/store/query. Queries of one request are alternatives,
//! terms of one query have to hold together.

use std::collections::HashMap;

use regex::Regex;
use tonic::Status;

use crate::talos::wire::cosi::label_term::Operation;
use crate::talos::wire::cosi::{IdQuery, LabelQuery, LabelTerm, Resource};

/// What a request asks for.
#[derive(Debug, Default)]
pub(super) struct Filter {
    id: Option<Regex>,
    labels: Vec<LabelQuery>,
}

impl Filter {
    pub(super) fn new(id: Option<&IdQuery>, labels: &[LabelQuery]) -> Result<Self, Status> {
        let pattern = id.map(|query| query.regexp.as_str()).filter(|pattern| !pattern.is_empty());
        let compiled = pattern.map(Regex::new).transpose();
        let id = compiled.map_err(|error| Status::invalid_argument(format!("failed to compile id query: {error}")))?;
        Ok(Self { id, labels: labels.to_vec() })
    }

    pub(super) fn takes(&self, resource: &Resource) -> bool {
        let Some(metadata) = &resource.metadata else { return false };
        self.id.as_ref().is_none_or(|pattern| pattern.is_match(&metadata.id))
            && (self.labels.is_empty()
                || self.labels.iter().any(|query| query.terms.iter().all(|term| holds(term, &metadata.labels))))
    }
}

fn holds(term: &LabelTerm, labels: &HashMap<String, String>) -> bool {
    let found = labels.get(&term.key);
    let first = term.value.first().map_or("", String::as_str);
    let number = |text: &str| text.parse::<i64>().ok();
    let plain = match Operation::try_from(term.op) {
        Ok(Operation::Exists) => found.is_some(),
        Ok(Operation::NotExists) => found.is_none(),
        Ok(Operation::Equal) => found.is_some_and(|found| found == first),
        Ok(Operation::In) => found.is_some_and(|found| term.value.contains(found)),
        Ok(Operation::Lt) => found.is_some_and(|found| found.as_str() < first),
        Ok(Operation::Lte) => found.is_some_and(|found| found.as_str() <= first),
        Ok(Operation::LtNumeric) => {
            found.is_some_and(|found| number(found).zip(number(first)).is_some_and(|(a, b)| a < b))
        }
        Ok(Operation::LteNumeric) => {
            found.is_some_and(|found| number(found).zip(number(first)).is_some_and(|(a, b)| a <= b))
        }
        Err(_) => false,
    };
    plain != term.invert
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_tested_against_labels() {
        let labels = HashMap::from([("a".to_owned(), "5".to_owned())]);
        let term = |key: &str, op: Operation, value: &str, invert| {
            let term = LabelTerm { key: key.into(), op: op.into(), value: vec![value.into()], invert };
            holds(&term, &labels)
        };
        assert!(term("a", Operation::Exists, "", false) && !term("b", Operation::Exists, "", false));
        assert!(term("a", Operation::Equal, "5", false) && term("a", Operation::Equal, "6", true));
        assert!(term("a", Operation::LtNumeric, "10", false) && !term("a", Operation::Lt, "10", false));
        assert!(term("b", Operation::NotExists, "", false) && term("a", Operation::In, "5", false));
    }
}
