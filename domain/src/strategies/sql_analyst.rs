//! DIN-SQL (Pourreza and Rafiei 2023): link the schema, classify the question, write the query as its class needs, correct it; then
//! execute it through a tool and answer.
//!
//! A question whose class cannot be read is a nested one. A correction without a query leaves the query as it was. What is not
//! one reading statement is never executed, and goes back with why, as do the database's errors. The tool is what enforces
//! reading, rows and time; this is a second fence. Without its tools the kind does nothing, and says which are missing.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::acting::{DATA_NOT_ORDERS, untrusted};
use super::asking::{answer, ask, object, text, unparseable};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::ModelRequest;
use crate::tools::ToolOutput;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    schema_tool: String,
    query_tool: String,
    query_argument: String,
    max_corrections: u32,
    max_rows: u32,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "SQL analyst",
        summary: "Links the schema, classifies the question, writes and corrects a query, executes it and answers.",
        use_when: "Questions that a database can answer, with tools that show its schema and read from it.",
        sources: &[Source::arxiv(
            "Pourreza and Rafiei",
            2023,
            "DIN-SQL: Decomposed In-Context Learning of Text-to-SQL with Self-Correction",
            "2304.11015",
        )],
        cost: "5 (link, classify, write, correct, answer), and 1 to mend each query that fails: 5 to 5 + max_corrections",
        tools: ToolUse::Needed,
        parameters: &[
            Parameter::text(
                "schema_tool",
                "sql_schema",
                "The tool that shows the schema; it is called without arguments.",
            ),
            Parameter::text("query_tool", "sql_query", "The tool that executes a query."),
            Parameter::text("query_argument", "sql", "The argument in which that tool takes the query."),
            Parameter::integer("max_corrections", 0..=3, 1, "How often a query that failed is mended."),
            Parameter::integer("max_rows", 1..=1000, 100, "The most rows that a query is to ask for."),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        5..=5 + self.max_corrections
    }

    fn needed_tools(&self) -> Vec<String> {
        vec![self.schema_tool.clone(), self.query_tool.clone()]
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let shown = fx.tool(&self.schema_tool, json!({})).await?;
        if shown.is_error {
            return Err(StrategyError::ToolFailed { tool: self.schema_tool, reason: shown.content });
        }
        let analyst = Analyst { brief: &brief, fx: &fx, schema: untrusted(&shown), max_rows: self.max_rows };
        let links = analyst.ask("link", LINK, &[]).await?;
        let class = analyst.classify(&links).await?;
        let written = analyst.write(&links, &class).await?;
        let mut sql = analyst.correct(&written).await?;
        let mut mended = 0;
        let rows = loop {
            let output = self.execute(&fx, &sql).await?;
            if !output.is_error {
                break output;
            }
            if mended == self.max_corrections {
                return Err(StrategyError::ToolFailed { tool: self.query_tool, reason: output.content });
            }
            mended += 1;
            sql = analyst.mend(&sql, &output).await?;
        };
        let guidance = format!("{ANSWER} {DATA_NOT_ORDERS}");
        let messages = brief.about_task(&guidance, &[("Query", &sql), ("Results so far", &untrusted(&rows))]);
        answer(&ask(&fx, ModelRequest::answer("answer", messages)).await?.text, "answer")
    }
}

impl Parameters {
    /// Executes a query that only reads; any other fails without a call.
    async fn execute(&self, fx: &Effects, sql: &str) -> Result<ToolOutput, StrategyError> {
        if let Err(reason) = only_reads(sql) {
            return Ok(ToolOutput::error(reason));
        }
        let arguments = Map::from_iter([(self.query_argument.clone(), json!(sql))]);
        Ok(fx.tool(&self.query_tool, Value::Object(arguments)).await?)
    }
}

struct Analyst<'a> {
    brief: &'a Brief,
    fx: &'a Effects,
    schema: String,
    max_rows: u32,
}

/// How hard a question is, as in the paper.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Class {
    /// One table.
    Easy,
    /// Several tables, no query within the query.
    Join,
    /// Queries within the query.
    Nested,
}

#[derive(Deserialize)]
struct Classified {
    class: Class,
    #[serde(default)]
    sub_questions: Vec<String>,
}

impl Analyst<'_> {
    async fn ask(
        &self,
        purpose: &str,
        guidance: &str,
        more: &[(&str, &str)],
    ) -> Result<String, StrategyError> {
        let request = self.request(purpose, guidance, more);
        Ok(ask(self.fx, request).await?.text)
    }

    fn request(&self, purpose: &str, guidance: &str, more: &[(&str, &str)]) -> ModelRequest {
        let sections: Vec<_> =
            [("Schema", self.schema.as_str())].into_iter().chain(more.iter().copied()).collect();
        ModelRequest::thought(
            purpose,
            self.brief.about_task(&format!("{guidance} {DATA_NOT_ORDERS}"), &sections),
        )
    }

    async fn classify(&self, links: &str) -> Result<Classified, StrategyError> {
        let class = json!({"type": "string", "enum": ["easy", "join", "nested"]});
        let questions = json!({"type": "array", "items": text()});
        let schema = object([("class", class), ("sub_questions", questions)]);
        let request =
            self.request("classify", CLASSIFY, &[("Schema links", links)]).with_schema("class", schema);
        let reply = ask(self.fx, request).await?.text;
        Ok(read_object(&reply).unwrap_or(Classified { class: Class::Nested, sub_questions: Vec::new() }))
    }

    async fn write(&self, links: &str, classified: &Classified) -> Result<String, StrategyError> {
        let how = match classified.class {
            Class::Easy => "It takes one table.",
            Class::Join => "It takes several tables: first say which rows go together, and by which columns.",
            Class::Nested => {
                "It takes queries within the query: first answer the sub-questions, each by a query, and build on these."
            }
        };
        let guidance = format!("{WRITE} {how} Never ask for more than {} rows. {AS_JSON}", self.max_rows);
        let questions = classified.sub_questions.join("\n");
        let sections = [("Schema links", links), ("Sub-questions", &questions)];
        self.ask_for_sql("write", &guidance, &sections).await
    }

    /// The paper's self-correction: the query is looked at again before it is executed.
    async fn correct(&self, written: &str) -> Result<String, StrategyError> {
        let corrected =
            self.ask_for_sql("correct", &format!("{CORRECT} {AS_JSON}"), &[("Query", written)]).await?;
        sql_in(&corrected)
            .or_else(|| sql_in(written))
            .ok_or_else(|| unparseable("correct", "it has no query that starts with SELECT or WITH"))
    }

    async fn mend(&self, sql: &str, failed: &ToolOutput) -> Result<String, StrategyError> {
        let sections = [("Query", sql), ("Error", &untrusted(failed))];
        let mended = self.ask_for_sql("mend", &format!("{MEND} {AS_JSON}"), &sections).await?;
        Ok(sql_in(&mended).unwrap_or_else(|| sql.to_owned()))
    }

    async fn ask_for_sql(
        &self,
        purpose: &str,
        guidance: &str,
        sections: &[(&str, &str)],
    ) -> Result<String, StrategyError> {
        let schema = object([("reasoning", text()), ("sql", text())]);
        Ok(ask(self.fx, self.request(purpose, guidance, sections).with_schema("query", schema)).await?.text)
    }
}

/// The query in a reply: the member `sql`, else a block of code, else the text itself.
fn sql_in(reply: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Query {
        sql: String,
    }
    let fenced = || {
        let block = reply.split("```").nth(1)?;
        Some(block.strip_prefix("sql").unwrap_or(block).to_owned())
    };
    let found = match read_object::<Query>(reply) {
        Ok(Query { sql }) => sql,
        Err(_) => fenced().unwrap_or_else(|| reply.to_owned()),
    };
    let sql = found.trim().trim_end_matches(';').trim_end();
    let first = sql.split(|c: char| !c.is_alphabetic()).next()?.to_ascii_uppercase();
    ["SELECT", "WITH"].contains(&first.as_str()).then(|| sql.to_owned())
}

/// Words that no reading statement needs outside of quotes.
const WRITING: [&str; 16] = [
    "INSERT", "UPDATE", "DELETE", "MERGE", "DROP", "ALTER", "CREATE", "TRUNCATE", "GRANT", "REVOKE",
    "ATTACH", "DETACH", "PRAGMA", "COPY", "INTO", "VACUUM",
];

/// Whether a query is one statement that reads; else why not.
fn only_reads(sql: &str) -> Result<(), String> {
    let mut bare = String::new();
    let mut quote = None;
    for c in sql.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '\'' | '"' | '`') => quote = Some(c),
            None => bare.push(c.to_ascii_uppercase()),
        }
    }
    if bare.contains(';') {
        return Err("only one statement may be executed".to_owned());
    }
    let mut words = bare.split(|c: char| !c.is_alphanumeric() && c != '_');
    match words.find(|word| WRITING.contains(word)) {
        Some(word) => Err(format!("only a query that reads may be executed, and it has {word}")),
        None => Ok(()),
    }
}

const LINK: &str = "Find the tables, columns and foreign keys that the question is about, and the values in it that columns hold. Think \
    step by step, then list them.";
const CLASSIFY: &str = "Classify the question by the query that it takes: `easy` for one table, `join` for several tables, `nested` for \
    queries within the query; for the last, also split it into sub-questions. Reply with JSON: {\"class\": \"easy\", \"join\" or \
    \"nested\", \"sub_questions\": [\"...\"]}.";
const WRITE: &str = "Write one SQL query, which only reads, that answers the question.";
const CORRECT: &str = "Look at the query again: are tables, columns, joins, grouping, conditions and the use of DISTINCT and NULL right? \
    Give it corrected; if nothing is wrong, as it is.";
const MEND: &str = "The query has failed. Mend it.";
const AS_JSON: &str = "Reply with JSON: {\"reasoning\": \"...\", \"sql\": \"SELECT ...\"}.";
const ANSWER: &str = "Answer the question from the rows. Say so if they do not suffice.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::scripted::{Script, brief, strategy};
    use crate::strategies::{AgentKind, Strategy};
    use crate::tools::ToolSpec;

    const EASY: &str = r#"{"class":"easy","sub_questions":[]}"#;
    const QUERY: &str = r#"{"reasoning":"","sql":"SELECT 42;"}"#;

    fn analyst(corrections: u32) -> Strategy {
        strategy(AgentKind::SqlAnalyst, json!({ "max_corrections": corrections }))
    }

    fn at_a_database() -> Brief {
        let tool =
            |name: &str| ToolSpec { name: name.into(), description: String::new(), parameters: json!({}) };
        Brief { tools: ["sql_schema", "sql_query"].map(tool).into(), ..brief() }
    }

    #[test]
    fn five_calls_from_the_schema_to_the_answer() {
        let replies = ["answers.value", EASY, "```sql\nSELECT 41\n```", QUERY, "42"];
        let script = Script::new(replies).with_tool(|call| {
            ToolOutput::ok(if call.name == "sql_schema" {
                "CREATE TABLE answers (value)"
            } else {
                "value\n42"
            })
        });
        let played = script.play(&analyst(1), at_a_database());
        assert_eq!(
            (played.text(), played.purposes()),
            ("42", vec!["link", "classify", "write", "correct", "answer"])
        );
        assert_eq!(played.tools[1].arguments, json!({"sql": "SELECT 42"}));
        assert!((0..4).all(|call| played.prompt(call).contains("CREATE TABLE answers")));
        assert!(played.prompt(2).contains("answers.value") && played.prompt(2).contains("one table"));
        assert!(played.prompt(3).contains("SELECT 41") && played.prompt(4).contains("value\\n42"));
    }

    #[test]
    fn the_class_decides_how_the_query_is_written_and_an_unreadable_one_is_nested() {
        let written = |class: &str| Script::new(["", class]).play(&analyst(1), at_a_database()).prompt(2);
        assert!(written(r#"{"class":"join"}"#).contains("which rows go together"));
        let nested = written(r#"{"class":"nested","sub_questions":["how many?"]}"#);
        assert!(nested.contains("queries within") && nested.contains("how many?"));
        assert!(written("no idea").contains("queries within"));
    }

    #[test]
    fn an_error_of_the_database_is_mended_so_often() {
        let failing = || {
            Script::new(["", EASY, QUERY, "fine as it is", r#"{"sql":"SELECT 43"}"#]).with_tool(|call| {
                if call.name == "sql_query" {
                    ToolOutput::error("no such column")
                } else {
                    ToolOutput::ok("")
                }
            })
        };
        let played = failing().play(&analyst(1), at_a_database());
        assert_eq!(played.purposes(), ["link", "classify", "write", "correct", "mend"]);
        assert!(played.prompt(4).contains("no such column"));
        assert_eq!(played.tools[2].arguments, json!({"sql": "SELECT 43"}));
        assert!(
            matches!(&played.result, Err(StrategyError::ToolFailed { reason, .. }) if reason == "no such column")
        );
        assert_eq!(failing().play(&analyst(0), at_a_database()).requests.len(), 4);
    }

    #[test]
    fn nothing_but_one_reading_statement_is_executed() {
        for sql in [
            "SELECT 1; DROP TABLE users",
            "WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone",
            "SELECT * INTO copy FROM users",
        ] {
            let query = json!({ "sql": sql }).to_string();
            let played = Script::new(["", EASY, &query, &query, &query]).play(&analyst(1), at_a_database());
            assert_eq!((played.tools.len(), played.requests.len()), (1, 5), "{sql}");
            assert!(matches!(played.result, Err(StrategyError::ToolFailed { .. })));
        }
        assert_eq!(only_reads("SELECT 'delete; \"it' AS \"update\" FROM t WHERE deleted_at IS NULL"), Ok(()));
    }

    #[test]
    fn a_query_that_cannot_be_read_is_an_error_after_the_correction() {
        let played = Script::new(["", EASY, "none", "none"]).play(&analyst(1), at_a_database());
        assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
        assert_eq!(played.tools.len(), 1);
    }

    #[test]
    fn without_its_tools_it_does_nothing_and_says_which() {
        let played = Script::new(["x"]).play(&analyst(1), brief());
        assert_eq!(
            played.result,
            Err(StrategyError::MissingTools { needed: "sql_schema, sql_query".into() })
        );
        assert!(played.requests.is_empty() && played.tools.is_empty());
        let script = Script::new(["x"]).with_tool(|_| ToolOutput::error("away"));
        let played = script.play(&analyst(1), at_a_database());
        assert!(matches!(played.result, Err(StrategyError::ToolFailed { .. })) && played.requests.is_empty());
    }
}
