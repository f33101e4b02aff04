//! Which candidates are made, of which parents, and which one is the answer.

use serde_json::{Value, json};

use super::*;
use crate::strategies::scripted::{Played, Script, brief, strategy};
use crate::strategies::{AgentKind, Strategy};

fn evolver(examples: &[&str], candidates: u32) -> Strategy {
    strategy(AgentKind::MetaEvolver, json!({"examples": examples, "candidates": candidates}))
}

fn proposal(name: &str) -> String {
    json!({"thought": "t", "name": name, "instructions": format!("do {name}")}).to_string()
}

fn answer_of(played: &Played) -> Value {
    serde_json::from_str(played.text()).unwrap()
}

#[test]
fn it_stops_as_soon_as_all_is_right_and_the_answer_can_be_made_an_agent() {
    let played = Script::new(["1", "So.\nAnswer: 2."]).play(&evolver(&["a => 1", "b => 2"], 4), brief());
    assert_eq!((played.purposes(), &played.waves), (vec!["evaluate"; 2], &vec![2]));
    let prompt = played.prompt(1);
    assert!(prompt.contains("What is 6 × 7?") && prompt.contains("\"b\""), "{prompt}");
    let answer = answer_of(&played);
    let definition = json!({"kind": "direct", "description": "What is 6 × 7?",
        "instructions": "What is 6 × 7?", "examples": ["a", "b"]});
    assert_eq!(answer["best"], json!({"name": "evolved", "definition": definition}));
    assert_eq!((&answer["archive"][0]["scores"], &answer["candidate"]), (&json!([10, 10]), &json!(0)));
}

/// ADAS: a proposal, two reflections, an evaluation; each knows what was said before.
#[test]
fn each_candidate_is_reflected_upon_twice_and_then_evaluated() {
    let played = Script::new(["1", "wrong", &proposal("p"), &proposal("q"), &proposal("r"), "1", "2"])
        .play(&evolver(&["a => 1", "b => 2"], 4), brief());
    let purposes =
        ["evaluate", "evaluate", "propose", "reflect_novelty", "reflect_craft", "evaluate", "evaluate"];
    assert_eq!((played.purposes(), &played.waves), (purposes.to_vec(), &vec![2, 1, 1, 1, 2]));
    let propose = played.prompt(2);
    assert!(propose.contains("answered: wrong") && propose.contains("expected: 2"), "{propose}");
    assert!(!propose.contains("expected: 1"), "what went right is not shown as wrong: {propose}");
    assert!(propose.contains("0. first (0.50)") && propose.contains("Be brief."), "{propose}");
    assert!(played.prompt(3).contains("do p") && played.prompt(4).contains("do q"));
    assert!(played.prompt(5).contains("do r") && !played.prompt(5).contains("Be brief."));
    let answer = answer_of(&played);
    assert_eq!(answer["best"]["definition"]["instructions"], "do r");
    assert_eq!((&answer["archive"][1]["parent"], &answer["candidate"]), (&json!(0), &json!(1)));
}

/// GEPA: one that is best on an example stays a parent, though another's mean is higher.
#[test]
fn parents_are_those_of_the_front_in_turn() {
    let three = ["a => 1", "b => 2", "c => 3"];
    let p = proposal;
    let script = [
        "1",
        "x",
        "x", // the first: a
        &p("p"),
        "",
        "",
        "x",
        "2",
        "3", // p: b and c
        &p("q"),
        "",
        "",
        "1",
        "x",
        "x", // q, of the first: as the first, so not on the front
        &p("r"),
        "",
        "",
        "x",
        "x",
        "x", // r, of p
    ];
    let played = Script::new(script).play(&evolver(&three, 3), brief());
    let answer = answer_of(&played);
    let of = |name: &str| -> Vec<Value> {
        answer["archive"].as_array().unwrap().iter().map(|tried| tried[name].clone()).collect()
    };
    // After p the parents are: the first, p, p.
    assert_eq!(of("parent"), [Value::Null, json!(0), json!(1), json!(1)]);
    assert_eq!(of("on_front"), [json!(true), json!(true), json!(false), json!(false)]);
    assert_eq!(of("mean"), [json!(0.33), json!(0.67), json!(0.33), json!(0.0)]);
    assert_eq!(answer["candidate"], 1);
    assert_eq!(played.requests.len(), 3 + 3 * 6);
}

#[test]
fn of_two_that_are_as_good_the_older_is_the_answer() {
    let p = proposal;
    let script = ["1", "x", &p("p"), "", "", "x", "2"];
    let played = Script::new(script).play(&evolver(&["a => 1", "b => 2"], 1), brief());
    assert_eq!(answer_of(&played)["candidate"], 0);
}

#[test]
fn what_cannot_be_read_is_asked_for_again_or_left_out() {
    let p = proposal;
    // The proposal is repaired; neither reflection is one; what is in the archive is not evaluated again.
    let script = ["x", "none", &p("p"), "hm", "{\"instructions\": \"\"}", "y", &p("p"), "", ""];
    let played = Script::new(script).play(&evolver(&["a => 1"], 2), brief());
    let purposes = [
        "evaluate",
        "propose",
        "repair_candidate",
        "reflect_novelty",
        "reflect_craft",
        "evaluate",
        "propose",
        "reflect_novelty",
        "reflect_craft",
    ];
    assert_eq!(played.purposes(), purposes);
    assert_eq!(answer_of(&played)["archive"].as_array().unwrap().len(), 2);
    let played = Script::new(["x", "none", "none"]).play(&evolver(&["a => 1"], 2), brief());
    assert!(matches!(played.result, Err(StrategyError::Unparseable { .. })));
}

#[test]
fn a_judge_says_how_near_an_answer_comes_and_its_reasons_are_learnt_from() {
    let judge = json!({"examples": ["a => 1", "b => 2"], "candidates": 1, "score": "judge"});
    let near = r#"{"reason": "nearly", "score": 7}"#;
    let full = r#"{"reason": "same", "score": 10}"#;
    let p = proposal("p");
    // No answer is not judged, and a verdict that cannot be read is worth nothing.
    let script = ["one", "", near, &p, "", "", "1", "2", full, "hm"];
    let played = Script::new(script).play(&strategy(AgentKind::MetaEvolver, judge), brief());
    assert_eq!(played.waves, [2, 1, 1, 1, 1, 2, 2]);
    assert!(played.prompt(3).contains("because: nearly"), "{}", played.prompt(3));
    let answer = answer_of(&played);
    let scores: Vec<&Value> =
        answer["archive"].as_array().unwrap().iter().map(|tried| &tried["scores"]).collect();
    assert_eq!(scores, [&json!([7, 0]), &json!([10, 0])]);
}

#[test]
fn examples_may_stand_in_the_task() {
    let task = "Say the number.\ntwo => 2\n\nthree => 3\nIn digits.";
    let with_task = |task: &str| Brief { task: task.into(), ..brief() };
    let by_task = strategy(AgentKind::MetaEvolver, json!({}));
    let played = Script::new(["2", "3"]).play(&by_task, with_task(task));
    assert!(played.prompt(0).contains("Say the number.\\n\\nIn digits.") && !played.prompt(0).contains("=>"));
    assert_eq!(answer_of(&played)["best"]["definition"]["examples"], json!(["two", "three"]));
    let played = Script::new(["2"]).play(&by_task, with_task("Say the number. => "));
    assert!(matches!(played.result, Err(StrategyError::UnusableTask { .. })) && played.requests.is_empty());
    let refused = Strategy::from_parameters(AgentKind::MetaEvolver, &json!({"examples": ["no arrow"]}));
    assert_eq!(refused.unwrap_err().pointer(), "/examples");
}

#[test]
fn the_bounds_of_calls_are_those_of_the_examples() {
    let calls = |parameters| strategy(AgentKind::MetaEvolver, parameters).model_calls();
    assert_eq!(calls(json!({"examples": ["a => 1", "b => 2"], "candidates": 3})), 2..=2 + 3 * 6);
    assert_eq!(calls(json!({"examples": ["a => 1"], "candidates": 1, "score": "judge"})), 1..=2 + 6);
    assert_eq!(calls(json!({"candidates": 1})), 1..=20 + 24);
}
