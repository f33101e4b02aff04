//! Retrieval-augmented generation (Lewis et al. 2020), which looks at what it retrieved and cites what it used (Self-RAG, Asai
//! et al. 2023): retrieve k passages, grade each, ask once more in other words when too few are relevant, answer with citations.
//!
//! Unlike Self-RAG's, the model is not trained for it: what its reflection tokens say is asked for in calls of their own. Grades
//! that cannot be read leave every passage in. Another query that cannot be read is not asked. An answer that cites what there
//! is not, or nothing though there is something, goes back once; the second time it is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::acting::{DATA_NOT_ORDERS, untrusted};
use super::asking::{answer, ask, integer, list, object, text, unparseable};
use super::kind::{About, Kind, Source, ToolUse};
use super::parameters::Parameter;
use super::reading::read_object;
use super::{Answer, Brief, StrategyError};
use crate::effects::Effects;
use crate::model::{Message, ModelRequest};
use crate::tools::ToolOutput;

/// The most characters of the task that are looked for.
const MAX_QUERY: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    search_tool: String,
    collections: Vec<String>,
    passages: u32,
    min_relevant: u32,
    requery: bool,
}

impl Kind for Parameters {
    const ABOUT: About = About {
        name: "Retrieval-augmented generation",
        summary: "Retrieves passages from documents, grades them, asks once more if need be, and answers with citations.",
        use_when: "Questions that the organisation's documents answer, where it matters which passage says so.",
        sources: &[
            Source::arxiv(
                "Lewis et al.",
                2020,
                "Retrieval-Augmented Generation for Knowledge-Intensive NLP Tasks",
                "2005.11401",
            ),
            Source::arxiv(
                "Asai et al.",
                2023,
                "Self-RAG: Learning to Retrieve, Generate, and Critique through Self-Reflection",
                "2310.11511",
            ),
        ],
        cost: "1 to grade, 1 to answer; with `requery`, 2 more (rewrite, grade) when too few passages are relevant; 1 to \
               repair citations; none to grade where nothing was found",
        tools: ToolUse::Needed,
        parameters: &[
            Parameter::text("search_tool", "knowledge_search", "The tool that searches."),
            Parameter::list(
                "collections",
                10,
                &[],
                "The collections to search; all of the tenant's, when empty.",
            ),
            Parameter::integer("passages", 1..=20, 6, "How many passages are retrieved by each query."),
            Parameter::integer(
                "min_relevant",
                1..=10,
                1,
                "With fewer relevant passages than these it is asked in other words.",
            ),
            Parameter::boolean("requery", true, "Whether it is asked once more, in other words."),
        ],
    };

    fn model_calls(&self) -> RangeInclusive<u32> {
        if self.requery { 2..=5 } else { 1..=3 }
    }

    fn needed_tools(&self) -> Vec<String> {
        vec![self.search_tool.clone()]
    }

    async fn run(self, brief: Brief, fx: Effects) -> Result<Answer, StrategyError> {
        let reader = Reader { brief: &brief, fx: &fx, kind: &self };
        let query: String = brief.task.chars().take(MAX_QUERY).collect();
        let mut kept = reader.relevant(reader.retrieve(&query).await?).await?;
        if self.requery
            && kept.len() < usize::try_from(self.min_relevant).unwrap_or(usize::MAX)
            && let Some(other) = reader.rewrite(&query, &kept).await?
        {
            let known: BTreeSet<String> = kept.iter().map(|passage| passage.citation.clone()).collect();
            let mut found = reader.retrieve(&other).await?;
            found.retain(|passage| !known.contains(&passage.citation));
            kept.extend(reader.relevant(found).await?);
        }
        reader.answer(&kept).await
    }
}

/// A passage, as the tool tells it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Passage {
    citation: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    headings: Vec<String>,
    start: u64,
    end: u64,
    text: String,
}

#[derive(Deserialize)]
struct Retrieved {
    passages: Vec<Passage>,
}

/// What a passage is worth for the question.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Grade {
    /// It answers the question, or a part of it.
    Relevant,
    /// It does not help.
    Irrelevant,
}

#[derive(Deserialize)]
struct Graded {
    grades: Vec<GradeOf>,
}

#[derive(Deserialize)]
struct GradeOf {
    passage: usize,
    grade: Grade,
}

struct Reader<'a> {
    brief: &'a Brief,
    fx: &'a Effects,
    kind: &'a Parameters,
}

impl Reader<'_> {
    async fn retrieve(&self, query: &str) -> Result<Vec<Passage>, StrategyError> {
        let mut arguments =
            Map::from_iter([("query".to_owned(), json!(query)), ("k".to_owned(), json!(self.kind.passages))]);
        if !self.kind.collections.is_empty() {
            arguments.insert("collections".to_owned(), json!(self.kind.collections));
        }
        let tool = &self.kind.search_tool;
        let output = self.fx.tool(tool, Value::Object(arguments)).await?;
        let failed = |reason: String| StrategyError::ToolFailed { tool: tool.clone(), reason };
        if output.is_error {
            return Err(failed(output.content));
        }
        let retrieved = serde_json::from_str::<Retrieved>(&output.content);
        Ok(retrieved.map_err(|error| failed(format!("it gave no passages: {error}")))?.passages)
    }

    /// Those that help. Nobody is asked of none.
    async fn relevant(&self, passages: Vec<Passage>) -> Result<Vec<Passage>, StrategyError> {
        if passages.is_empty() {
            return Ok(passages);
        }
        let most = u32::try_from(passages.len()).unwrap_or(u32::MAX);
        let of_one = object([
            ("passage", integer(1, most)),
            ("grade", json!({"type": "string", "enum": ["relevant", "irrelevant"]})),
        ]);
        let schema = object([("grades", list(&of_one, 1, most))]);
        let messages = self.messages(GRADE, &[("Passages", &numbered(&passages))]);
        let request = ModelRequest::thought("grade", messages).with_schema("grades", schema);
        let Ok(Graded { grades }) = read_object(&ask(self.fx, request).await?.text) else {
            return Ok(passages);
        };
        let grades: BTreeMap<usize, Grade> =
            grades.into_iter().map(|GradeOf { passage, grade }| (passage, grade)).collect();
        // What was not graded was not called relevant.
        let is_relevant = |number: usize| grades.get(&number) == Some(&Grade::Relevant);
        Ok((1..)
            .zip(passages)
            .filter(|(number, _)| is_relevant(*number))
            .map(|(_, passage)| passage)
            .collect())
    }

    /// The question in other words, for the search to find more; nothing when they cannot be read, or are the same.
    async fn rewrite(&self, query: &str, kept: &[Passage]) -> Result<Option<String>, StrategyError> {
        #[derive(Deserialize)]
        struct Rewritten {
            query: String,
        }
        let sections = [("Query so far", query), ("Relevant so far", &numbered(kept))];
        let request = ModelRequest::thought("rewrite", self.messages(REWRITE, &sections))
            .with_schema("query", object([("query", text())]));
        let rewritten = read_object::<Rewritten>(&ask(self.fx, request).await?.text);
        let other = rewritten.ok().map(|rewritten| rewritten.query.trim().chars().take(MAX_QUERY).collect());
        Ok(other.filter(|other: &String| !other.is_empty() && other != query))
    }

    async fn answer(&self, passages: &[Passage]) -> Result<Answer, StrategyError> {
        let guidance = if passages.is_empty() { NOTHING_FOUND } else { ANSWER };
        let messages = self.messages(guidance, &[("Passages", &numbered(passages))]);
        let mut request = ModelRequest::thought("answer", messages);
        let mut said = ask(self.fx, request.clone()).await?.text;
        if let Err(flaw) = check(&said, passages.len()) {
            "repair_answer".clone_into(&mut request.purpose);
            let complaint =
                format!("This answer cannot be used: {flaw}. Give it again with citations that exist.");
            request.messages.extend([Message::assistant(said), Message::user(complaint)]);
            said = ask(self.fx, request).await?.text;
            check(&said, passages.len()).map_err(|flaw| unparseable("repair_answer", flaw))?;
        }
        let text = answer(&said, "answer")?.text;
        Ok(Answer { text: text.clone() + &sources(&cited(&text), passages) })
    }

    fn messages(&self, guidance: &str, sections: &[(&str, &str)]) -> Vec<Message> {
        self.brief.about_task(&format!("{guidance} {DATA_NOT_ORDERS}"), sections)
    }
}

/// Passages with the numbers by which they are cited, marked as data.
fn numbered(passages: &[Passage]) -> String {
    let mut text = String::new();
    for (number, passage) in (1..).zip(passages) {
        let above = [&passage.title].into_iter().chain(&passage.headings).filter(|part| !part.is_empty());
        let above = above.map(String::as_str).collect::<Vec<_>>().join(" > ");
        let output = ToolOutput::ok(format!("{above}\n{}", passage.text));
        let _ = writeln!(text, "[{number}]\n{}", untrusted(&output));
    }
    text
}

/// The numbers in brackets: `[1]`, `[1, 3]`.
fn cited(text: &str) -> BTreeSet<usize> {
    let mut cited = BTreeSet::new();
    for (at, _) in text.match_indices('[') {
        let rest = &text[at + 1..];
        let inside = rest.find(']').map(|end| &rest[..end]);
        let numbers = inside.map(|inside| {
            inside.split(',').map(|number| number.trim().parse::<usize>()).collect::<Result<Vec<_>, _>>()
        });
        if let Some(Ok(numbers)) = numbers {
            cited.extend(numbers);
        }
    }
    cited
}

/// Whether an answer cites what there is.
fn check(text: &str, passages: usize) -> Result<(), String> {
    let cited = cited(text);
    if let Some(wrong) = cited.iter().find(|number| !(1..=passages).contains(*number)) {
        return Err(format!("it cites [{wrong}], and there are {passages} passages"));
    }
    if cited.is_empty() && passages > 0 {
        return Err("it cites no passage".to_owned());
    }
    Ok(())
}

/// What the numbers stand for: the chunk, and which bytes of its document's text it is.
fn sources(cited: &BTreeSet<usize>, passages: &[Passage]) -> String {
    let mut text = String::new();
    for (number, passage) in (1..).zip(passages).filter(|(number, _)| cited.contains(number)) {
        let heading = if text.is_empty() { "\n\nSources:" } else { "" };
        let Passage { citation, title, start, end, .. } = passage;
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = write!(text, "{heading}\n[{number}] {citation}, bytes {start} to {end}");
        if !title.is_empty() {
            let _ = write!(text, ": {title}");
        }
    }
    text
}

const GRADE: &str = "Grade each passage: `relevant` if it answers the task or a part of it, else `irrelevant`. Reply with JSON: \
    {\"grades\": [{\"passage\": 1, \"grade\": \"relevant\" or \"irrelevant\"}]}.";
const REWRITE: &str = "A search for the task found too little. Write another query for it: other words for the same things, names \
    in full, no more than the task asks. Reply with JSON: {\"query\": \"...\"}.";
const ANSWER: &str = "Answer the task from the passages alone. After each statement cite the passages that say so by their numbers in \
    brackets, as [1] or [1, 2]. Say what the passages do not tell. Do not list the sources.";
const NOTHING_FOUND: &str = "Nothing in the documents answers the task. Say so in a sentence, in the language of the task; do not \
    answer it from what you know, and cite nothing.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::scripted::{Script, brief, strategy};
    use crate::strategies::{AgentKind, Strategy};
    use crate::tools::ToolSpec;

    const FIRST: &str = r#"{"grades":[{"passage":1,"grade":"relevant"},{"passage":2,"grade":"irrelevant"}]}"#;
    const NONE: &str =
        r#"{"grades":[{"passage":1,"grade":"irrelevant"},{"passage":2,"grade":"irrelevant"}]}"#;

    fn rag(parameters: Value) -> Strategy {
        strategy(AgentKind::Rag, parameters)
    }

    fn with_search() -> Brief {
        let tool =
            ToolSpec { name: "knowledge_search".into(), description: String::new(), parameters: json!({}) };
        Brief { tools: vec![tool], task: "How long is parental leave?".into(), ..brief() }
    }

    fn passage(chunk: u32, text: &str) -> Value {
        json!({"citation": format!("doc_x#{chunk}"), "title": "Handbook", "start": chunk * 10, "end": chunk * 10 + 9,
            "text": text})
    }

    /// The first query finds two passages; any other finds the second of these again, and a third.
    fn library(call: &crate::effects::ToolRequest) -> ToolOutput {
        let found = if call.arguments["query"] == "How long is parental leave?" {
            vec![passage(1, "Parental leave takes 26 weeks."), passage(2, "Cats sleep.")]
        } else {
            vec![passage(1, "Parental leave takes 26 weeks."), passage(3, "Apply to HR.")]
        };
        ToolOutput::ok(json!({ "passages": found }).to_string())
    }

    fn played(strategy: &Strategy, replies: &[&str]) -> crate::strategies::scripted::Played {
        Script::new(replies.iter().copied()).with_tool(library).play(strategy, with_search())
    }

    #[test]
    fn what_is_relevant_is_cited_with_its_offsets() {
        let found = played(&rag(json!({})), &[FIRST, "It takes 26 weeks [1]."]);
        assert_eq!(found.purposes(), ["grade", "answer"]);
        assert_eq!(found.text(), "It takes 26 weeks [1].\n\nSources:\n[1] doc_x#1, bytes 10 to 19: Handbook");
        assert_eq!(found.tools[0].arguments, json!({"query": "How long is parental leave?", "k": 6}));
        assert!(found.prompt(0).contains("Cats sleep") && found.prompt(0).contains("untrusted_tool_output"));
        assert!(!found.prompt(1).contains("Cats sleep") && found.prompt(1).contains("26 weeks"));
    }

    #[test]
    fn too_few_relevant_passages_are_looked_for_once_more_in_other_words() {
        let other = r#"{"query":"maternity leave weeks"}"#;
        let replies = [NONE, other, r#"{"grades":[{"passage":1,"grade":"relevant"}]}"#, "26 weeks [1]."];
        let found = played(&rag(json!({})), &replies);
        assert_eq!(found.purposes(), ["grade", "rewrite", "grade", "answer"]);
        assert_eq!(found.tools[1].arguments["query"], "maternity leave weeks");
        assert!(found.text().contains("doc_x#1"));

        // What is there already is not looked at again.
        let replies =
            [FIRST, other, r#"{"grades":[{"passage":1,"grade":"relevant"}]}"#, "26 weeks [1], ask HR [2]."];
        let found = played(&rag(json!({"min_relevant": 2})), &replies);
        assert!(!found.prompt(2).contains("26 weeks") && found.prompt(2).contains("Apply to HR"));
        assert!(
            found
                .text()
                .ends_with("[1] doc_x#1, bytes 10 to 19: Handbook\n[2] doc_x#3, bytes 30 to 39: Handbook")
        );
    }

    #[test]
    fn it_is_asked_once_more_at_most_and_not_where_that_makes_no_sense() {
        let still_none = [NONE, r#"{"query":"other"}"#, NONE, "The documents do not say."];
        let found = played(&rag(json!({})), &still_none);
        assert_eq!((found.text(), found.tools.len()), ("The documents do not say.", 2));
        assert!(found.prompt(3).contains("Nothing in the documents"));
        for same in ["no idea", r#"{"query":" "}"#, r#"{"query":"How long is parental leave?"}"#] {
            let found = played(&rag(json!({})), &[NONE, same, "They do not say."]);
            assert_eq!(
                (found.purposes(), found.tools.len()),
                (vec!["grade", "rewrite", "answer"], 1),
                "{same}"
            );
        }
        let found = played(&rag(json!({"requery": false})), &[NONE, "They do not say."]);
        assert_eq!(found.purposes(), ["grade", "answer"]);
    }

    #[test]
    fn grades_that_cannot_be_read_leave_every_passage_in() {
        let found = played(&rag(json!({})), &["both are fine", "26 weeks [1, 2]."]);
        assert_eq!(found.purposes(), ["grade", "answer"]);
        assert!(found.text().contains("[2] doc_x#2"));
    }

    #[test]
    fn citations_that_do_not_exist_are_repaired_once() {
        for wrong in ["26 weeks [2].", "26 weeks.", "26 weeks [0]."] {
            let found = played(&rag(json!({})), &[FIRST, wrong, "26 weeks [1]."]);
            assert_eq!(found.purposes(), ["grade", "answer", "repair_answer"], "{wrong}");
            assert!(found.text().starts_with("26 weeks [1].\n\nSources:") && found.prompt(2).contains(wrong));
            let found = played(&rag(json!({})), &[FIRST, wrong, wrong]);
            assert!(matches!(found.result, Err(StrategyError::Unparseable { .. })), "{wrong}");
        }
        let found = played(&rag(json!({"requery": false})), &[NONE, "As [1] says.", "They do not say."]);
        assert_eq!(found.text(), "They do not say.");
    }

    #[test]
    fn brackets_that_hold_no_numbers_cite_nothing() {
        assert_eq!(cited("a [1][3, 2] [x] [] [1a] [4"), BTreeSet::from([1, 2, 3]));
    }

    #[test]
    fn nothing_is_graded_where_nothing_was_found() {
        let script = Script::new([r#"{"query":"other"}"#, "They do not say."])
            .with_tool(|_| ToolOutput::ok(r#"{"passages":[]}"#));
        let found = script.play(&rag(json!({"collections": ["hr"], "passages": 3})), with_search());
        assert_eq!(found.purposes(), ["rewrite", "answer"]);
        let asked = json!({"query": "How long is parental leave?", "k": 3, "collections": ["hr"]});
        assert_eq!(found.tools[0].arguments, asked);
    }

    #[test]
    fn without_a_search_that_works_it_does_nothing() {
        let found = Script::new(["x"]).play(&rag(json!({})), brief());
        assert_eq!(found.result, Err(StrategyError::MissingTools { needed: "knowledge_search".into() }));
        for bad in [ToolOutput::error("away"), ToolOutput::ok("hello")] {
            let found =
                Script::new(["x"]).with_tool(move |_| bad.clone()).play(&rag(json!({})), with_search());
            assert!(
                matches!(found.result, Err(StrategyError::ToolFailed { .. })) && found.requests.is_empty()
            );
        }
    }
}
