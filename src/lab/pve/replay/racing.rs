//! Scenarios whose requests come at the same moment.

use serde_json::Value;

use super::compare::Norm;
use super::player::Play;
use super::wire::Connection;

impl Play<'_> {
    /// Two equal requests at the same moment: their tasks are compared as a set.
    pub(super) async fn twice(&mut self, steps: &[Value]) -> Result<(), String> {
        let (before, pair) = steps.split_at(steps.len() - 2);
        for step in before {
            self.step(step["name"].as_str().unwrap_or_default(), step).await?;
        }
        for step in pair {
            let request = self.request(step, None);
            let answer = Connection::open(self.address, &self.ca).await.exchange(&request).await;
            self.compare(&answer.ok_or("closed without an answer")?, &step["response"])?;
        }
        self.settle().await;
        let world = self.shared.lock();
        let norm = Norm { given: &self.given };
        let started = world.pve.tasks.all.iter().rev().take(2);
        let mut ours: Vec<Vec<String>> = started.map(|task| norm.log(&task.log)).collect();
        let lines = |step: &Value| {
            step["task"]["log"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let mut recorded: Vec<Vec<String>> = pair.iter().map(|step| norm.log(&lines(step))).collect();
        ours.sort();
        recorded.sort();
        if ours == recorded { Ok(()) } else { Err(format!("logs {ours:?}, recorded {recorded:?}")) }
    }

    /// Equal requests at the same moment: the answers are compared as a set, as which of them wins is not defined.
    pub(super) async fn race(&mut self, steps: &[Value]) -> Result<(), String> {
        let (equal, rest): (Vec<&Value>, Vec<&Value>) =
            steps.iter().partition(|step| step["request"]["method"] == "POST");
        let mut sent = Vec::new();
        for step in &equal {
            let request = self.request(step, None);
            let (address, ca) = (self.address, self.ca.clone());
            sent.push(async move { Connection::open(address, &ca).await.exchange(&request).await });
        }
        let answers = futures_util::future::join_all(sent).await;
        let mut ours: Vec<String> =
            answers.iter().flatten().map(|answer| format!("{} {}", answer.status, answer.reason)).collect();
        let recorded = equal.iter().map(|step| &step["response"]);
        let mut recorded: Vec<String> = recorded
            .map(|answer| format!("{} {}", answer["status"], answer["reason"].as_str().unwrap_or_default()))
            .collect();
        ours.sort();
        recorded.sort();
        if ours != recorded {
            return Err(format!("{ours:?}, recorded {recorded:?}"));
        }
        self.settle().await;
        for step in rest {
            let mut connection = Connection::open(self.address, &self.ca).await;
            let answer = connection.exchange(&self.request(step, None)).await.ok_or("closed without an answer")?;
            // The name tells who won.
            let mut recorded = step["response"].clone();
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            recorded["body"]["json"]["data"]["name"] = body["data"]["name"].clone();
            self.compare(&answer, &recorded)?;
        }
        Ok(())
    }
}
