//! The run as a JUnit report, for a CI page: one test case per step that ran.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::timeline::{Span, Timeline};

/// The report could not be written as XML.
#[derive(Debug, thiserror::Error)]
#[error("write the JUnit report of {suite}")]
pub struct JunitError {
    suite: String,
    source: quick_junit::SerializeError,
}

/// XML with one suite per entry of `suites`: its name (`destroy`, `create`, `verify`) and what ran.
///
/// A case is named by its step; its class is the machine, or the suite for steps of no machine. A failed undo is an
/// error and not a failure: it leaves something on the site, which a nightly job must not overlook.
pub fn report(name: &str, suites: &[(&str, &Timeline)]) -> Result<String, JunitError> {
    let mut report = Report::new(name);
    report.set_time(suites.iter().map(|(_, timeline)| timeline.wall).sum::<Duration>());
    for (suite, timeline) in suites {
        let mut out = TestSuite::new(*suite);
        out.set_time(timeline.wall);
        out.add_test_cases(timeline.spans.iter().map(|span| case(suite, span)));
        report.add_test_suite(out);
    }
    report.to_string().map_err(|source| JunitError { suite: name.to_owned(), source })
}

fn case(suite: &str, span: &Span) -> TestCase {
    let status = match &span.error {
        None => TestCaseStatus::success(),
        Some(error) => {
            let kind = if span.undo { NonSuccessKind::Error } else { NonSuccessKind::Failure };
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(error.as_str());
            status
        }
    };
    let name = if span.undo { format!("undo {}", span.step.verb()) } else { span.step.verb().to_owned() };
    let mut case = TestCase::new(name, status);
    case.set_classname(span.step.subject().unwrap_or(suite));
    case.set_time(span.took());
    case
}
