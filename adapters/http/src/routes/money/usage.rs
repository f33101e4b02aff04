//! What was used, as JSON or as CSV (RFC 4180).

use std::fmt::Write as _;

use chrono::NaiveDate;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};
use powerhouse_domain::money::{Grouping, UsageGroup};
use powerhouse_usecases::money::{ReadUsage, ReadUsageQuery};
use salvo::oapi::{Components, EndpointOutRegister, Operation, ToSchema, endpoint};
use salvo::prelude::{Depot, Json, Request, Response, Writer, async_trait};
use serde::Serialize;

use crate::body::asks_for;
use crate::guard::principal;
use crate::problem::Problem;

/// A sum of what was used. What it is not told apart by is left out.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "UsageSum"))]
struct SumView {
    /// The day, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    /// The agent; none for calls that somebody had made without one, such as the vectors of a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// Who asked for the runs, or for the calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Calls of models, also of those that make vectors of texts.
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// Millionths of a US dollar.
    cost_micros: u64,
}

impl From<UsageGroup> for SumView {
    fn from(group: UsageGroup) -> Self {
        Self {
            day: group.day.map(|day| day.to_string()),
            agent: group.agent.map(|agent| agent.to_string()),
            user: group.user.map(|user| user.to_string()),
            model: group.model,
            calls: group.calls,
            input_tokens: group.usage.input_tokens,
            output_tokens: group.usage.output_tokens,
            cost_micros: group.usage.cost_micros,
        }
    }
}

/// What was used.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "UsageSums"))]
struct UsageView {
    items: Vec<SumView>,
}

/// The sums in the form that was asked for.
pub(super) struct UsageReply {
    sums: Vec<SumView>,
    grouping: Grouping,
    is_csv: bool,
}

#[async_trait]
impl Writer for UsageReply {
    async fn write(self, _: &mut Request, _: &mut Depot, res: &mut Response) {
        res.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
        if !self.is_csv {
            res.render(Json(UsageView { items: self.sums }));
            return;
        }
        let headers = res.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
        let name = HeaderValue::from_static("attachment; filename=\"usage.csv\"");
        headers.insert(CONTENT_DISPOSITION, name);
        res.body(csv(&self.sums, self.grouping));
    }
}

impl EndpointOutRegister for UsageReply {
    fn register(_: &mut Components, _: &mut Operation) {
        // The endpoint documents its own statuses.
    }
}

fn csv(sums: &[SumView], grouping: Grouping) -> String {
    let Grouping { day, agent, user, model } = grouping;
    let names = [(day, "day"), (agent, "agent"), (user, "user"), (model, "model")];
    let mut text = String::new();
    for (_, name) in names.iter().filter(|(is_told, _)| *is_told) {
        let _ = write!(text, "{name},");
    }
    text.push_str("calls,input_tokens,output_tokens,cost_micros\r\n");
    for sum in sums {
        let told = [(day, &sum.day), (agent, &sum.agent), (user, &sum.user), (model, &sum.model)];
        for (_, value) in told.iter().filter(|(is_told, _)| *is_told) {
            // What no agent did has its place too.
            let _ = write!(text, "{},", value.as_deref().map(quoted).unwrap_or_default());
        }
        let SumView { calls, input_tokens, output_tokens, cost_micros, .. } = sum;
        let _ = write!(text, "{calls},{input_tokens},{output_tokens},{cost_micros}\r\n");
    }
    text
}

/// A field. The name of a model comes from its provider: a spreadsheet must not take it for a formula.
fn quoted(value: &str) -> String {
    let is_formula = value.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let value = if is_formula { format!("'{value}") } else { value.to_owned() };
    if value.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", value.replace('"', "\"\"")) } else { value }
}

fn wants_csv(headers: &HeaderMap) -> bool {
    asks_for(headers, "text/csv")
}

fn day(req: &Request, name: &'static str) -> Result<Option<NaiveDate>, Problem> {
    let read = |text: &String| {
        let detail = format!("{name} must be a day, such as 2026-01-31");
        text.parse().map_err(|_| Problem::bad_request("day_invalid", detail))
    };
    req.queries().get(name).map(read).transpose()
}

fn grouping(req: &Request) -> Result<Grouping, Problem> {
    let mut grouping = Grouping::default();
    let Some(text) = req.queries().get("group_by") else { return Ok(Grouping { day: true, ..grouping }) };
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let told = match name {
            "day" => &mut grouping.day,
            "agent" => &mut grouping.agent,
            "user" => &mut grouping.user,
            "model" => &mut grouping.model,
            _ => {
                let detail = "group_by is any of day, agent, user and model, with commas between";
                return Err(Problem::bad_request("group_by_invalid", detail));
            }
        };
        *told = true;
    }
    Ok(grouping)
}

pub(super) struct GetUsage(pub(super) ReadUsage);

/// What was used, by day, agent, user and model
///
/// With `Accept: text/csv` the same as CSV. Calls that make vectors of texts count as all others do, under the embedder's model.
#[endpoint(operation_id = "get_usage", tags("money"), security(["bearer" = []]),
    parameters(("from" = Option<String>, Query, description = "The first day, in UTC; 29 days before the last by default"),
               ("to" = Option<String>, Query, description = "The last day, in UTC; today by default"),
               ("group_by" = Option<String>, Query,
                description = "What is told apart: any of `day`, `agent`, `user`, `model`, with commas between; `day` by default")),
    responses((status_code = 200, description = "The sums.", body = UsageView)))]
impl GetUsage {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<UsageReply, Problem> {
        let query = ReadUsageQuery { from: day(req, "from")?, to: day(req, "to")?, grouping: grouping(req)? };
        let sums = self.0.execute(principal(depot)?, query).await?;
        let sums = sums.into_iter().map(Into::into).collect();
        Ok(UsageReply { sums, grouping: query.grouping, is_csv: wants_csv(req.headers()) })
    }
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;

    use super::*;

    #[test]
    fn a_field_is_quoted_when_it_must_be_and_is_never_a_formula() {
        for (value, field) in [
            ("gpt-5-mini", "gpt-5-mini"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "'=1+1"),
            ("@x,y", "\"'@x,y\""),
        ] {
            assert_eq!(quoted(value), field);
        }
    }

    #[test]
    fn what_no_agent_did_keeps_the_columns() {
        let agent = "agent_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        let usage = powerhouse_domain::model::Usage::of_tokens(3, 0);
        let sum =
            |agent| UsageGroup { agent, model: Some("v".into()), calls: 1, usage, ..UsageGroup::default() };
        let sums = [sum(None), sum(Some(agent))].map(SumView::from);
        let by = Grouping { agent: true, model: true, ..Grouping::default() };
        let expected = format!(
            "agent,model,calls,input_tokens,output_tokens,cost_micros\r\n,v,1,3,0,0\r\n{agent},v,1,3,0,0\r\n"
        );
        assert_eq!(csv(&sums, by), expected);
    }

    #[test]
    fn csv_is_given_to_whoever_names_it() {
        let asked = |accept: &'static str| {
            wants_csv(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
        };
        assert!(asked("text/csv") && asked("application/json;q=0.5, Text/CSV;q=1"));
        assert!(!asked("*/*") && !asked("text/*") && !asked("application/json"));
    }
}
