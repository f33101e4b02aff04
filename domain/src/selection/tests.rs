//! The choice keeps to the wish, to what was learnt and to how agents have done, and says why.

use std::time::Duration;

use chrono::TimeDelta;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::agents::Definition;
use crate::runs::RunLimits;
use crate::strategies::Strategy;

fn agent(number: u128, name: &str, description: &str, capabilities: &[&str], examples: &[&str]) -> Agent {
    let definition = Definition {
        description: description.into(),
        strategy: Strategy::direct(),
        instructions: String::new(),
        model: None,
        tools: Vec::new(),
        capabilities: capabilities.iter().map(ToString::to_string).collect(),
        approvals: Vec::new(),
        examples: examples.iter().map(ToString::to_string).collect(),
        limits: RunLimits { steps: 8, tokens: 1_000, cost_micros: 0, wall_clock: Duration::from_mins(1) },
        max_concurrent_runs: None,
        formation: None,
        agents: Vec::new(),
    };
    let now = DateTime::UNIX_EPOCH;
    Agent::draft(id(number), name.parse().unwrap(), definition, now)
        .map(|agent| agent.publish(now).unwrap())
        .unwrap()
}

fn id(number: u128) -> AgentId {
    AgentId::from_uuid(Uuid::from_u128(number))
}

fn office() -> Vec<Agent> {
    vec![
        agent(1, "assistant", "Answers everyday questions", &[], &[]),
        agent(2, "bookkeeper", "Checks invoices, payments and taxes", &["finance"], &[]),
        agent(3, "translator", "Translates letters between languages", &["language"], &[]),
    ]
}

/// Two agents with examples, one of which could do the other's work, and one without.
fn agency() -> Vec<Agent> {
    let trips = [
        "book a flight to berlin",
        "find me a cheap flight for friday",
        "i need a plane ticket to rome",
        "reserve two seats on the train to vienna",
        "book me a hotel room in paris",
    ];
    let money = [
        "what is my account balance",
        "send money to my landlord",
        "transfer 50 euros to my savings account",
        "how much money is in the bank",
        "how much was i charged for the last transfer",
    ];
    vec![
        agent(1, "traveller", "Books trips", &[], &trips),
        agent(2, "banker", "Looks after accounts", &[], &money),
        agent(3, "gardener", "Waters roses and tulips", &[], &[]),
    ]
}

fn cold(task: &str, agents: &[Agent], wish: &Wish) -> Result<Selection, NoAgent> {
    let selector = Selector::default();
    choose(
        task,
        agents,
        wish,
        Knowledge { selector: &selector, trained: None, now: DateTime::UNIX_EPOCH, draw: 0.0 },
    )
}

fn trained(agents: &[Agent], praised: &[Praised]) -> Trained {
    Lesson::of(agents, praised).learn(&|| false).unwrap()
}

fn warm(task: &str, selector: &Selector, trained: &Trained, draw: f64) -> Selection {
    let knowledge = Knowledge { selector, trained: Some(trained), now: DateTime::UNIX_EPOCH, draw };
    choose(task, &agency(), &Wish::default(), knowledge).unwrap()
}

fn knowing(record: Record) -> Selector {
    Selector::default().learn(Learnt { record, ..Learnt::default() }).unwrap()
}

fn outcomes(agent: AgentId, succeeded: bool, count: usize) -> Vec<Outcome> {
    let ended_at = DateTime::UNIX_EPOCH - TimeDelta::hours(1);
    let took = TimeDelta::seconds(1);
    vec![Outcome { agent, succeeded, took, cost_micros: 0, good: 0, bad: 0, ended_at }; count]
}

#[test]
fn the_agent_that_shares_the_tasks_words_wins_and_the_reason_names_them() {
    let selection = cold("Please check the invoice of May", &office(), &Wish::default()).unwrap();
    assert_eq!(selection.agent, id(2));
    assert!(
        selection.reason.contains("bookkeeper") && selection.reason.contains("invoice"),
        "{}",
        selection.reason
    );
    assert_eq!(selection.scores.len(), 3);
    assert!(selection.scores[0].1 > selection.scores[1].1);
    assert_eq!((selection.propensity(), selection.revision), (Some(1.0), Some(0)));
}

#[test]
fn without_a_shared_word_the_default_agent_serves_or_else_the_oldest_and_it_is_said() {
    let selection = cold("hm", &office(), &Wish::default()).unwrap();
    assert_eq!(selection.agent, id(1));
    assert!(selection.reason.contains("oldest"), "{}", selection.reason);
    let selector = Selector::default().with_default(Some(id(3)));
    let knowledge = Knowledge { selector: &selector, trained: None, now: DateTime::UNIX_EPOCH, draw: 0.0 };
    let selection = choose("hm", &office(), &Wish::default(), knowledge).unwrap();
    assert_eq!(selection.agent, id(3));
    assert!(selection.reason.contains("default agent"), "{}", selection.reason);
    let others = Wish { candidates: vec![id(1), id(2)], ..Wish::default() };
    assert_eq!(choose("hm", &office(), &others, knowledge).unwrap().agent, id(1));
}

#[test]
fn a_capability_and_candidates_bind() {
    let language = Wish { capabilities: vec!["language".into()], ..Wish::default() };
    assert_eq!(cold("check invoices", &office(), &language).unwrap().agent, id(3));
    let only = Wish { candidates: vec![id(1)], ..Wish::default() };
    assert_eq!(cold("check invoices", &office(), &only).unwrap().agent, id(1));
    let neither = Wish { candidates: only.candidates, ..language };
    assert_eq!(cold("check invoices", &office(), &neither), Err(NoAgent));
    assert_eq!(cold("check invoices", &[], &Wish::default()), Err(NoAgent));
}

#[test]
fn what_was_learnt_goes_before_words() {
    let trained = trained(&agency(), &[]);
    let selection = warm("a ticket for a flight to oslo", &Selector::default(), &trained, 0.0);
    assert_eq!(selection.agent, id(1));
    assert!(selection.reason.contains("by examples"), "{}", selection.reason);
    // Only those that it knows have a score.
    assert_eq!(selection.scores.len(), 2);
}

#[test]
fn what_nobody_has_learnt_goes_to_who_has_its_words_or_to_the_default() {
    let trained = trained(&agency(), &[]);
    let selector = Selector::default().with_default(Some(id(2)));
    let roses = warm("water tulips, roses", &selector, &trained, 0.0);
    assert_eq!(roses.agent, id(3), "{}", roses.reason);
    for stranger in ["квантовая механика", "zyx qqq wvw"] {
        let selection = warm(stranger, &selector, &trained, 0.0);
        assert_eq!(selection.agent, id(2), "{}", selection.reason);
        assert!(selection.reason.contains("default agent"), "{}", selection.reason);
    }
    let without = warm("zyx qqq wvw", &Selector::default(), &trained, 0.0);
    assert!(without.reason.contains("no default agent"), "{}", without.reason);
}

#[test]
fn tasks_of_good_runs_teach() {
    let task = "check how much the hotel in lisbon has charged";
    let before = warm(task, &Selector::default(), &trained(&agency(), &[]), 0.0);
    assert_eq!(before.agent, id(2), "{}", before.reason);
    let praised = [task, "see what the hotel has charged", "has the hotel charged for the room"];
    let praised = praised.map(|task| Praised { agent: id(1), task: task.into() });
    let after = warm(
        "check how much the hotel in porto charged",
        &Selector::default(),
        &trained(&agency(), &praised),
        0.0,
    );
    assert_eq!(after.agent, id(1), "{}", after.reason);
}

#[test]
fn an_agent_with_few_examples_is_not_learnt_and_few_agents_teach_nothing() {
    assert_eq!(trained(&agency(), &[]).agents(), [id(1), id(2)]);
    assert!(Lesson::of(&agency()[1..], &[]).learn(&|| false).is_none());
    let praised = ["roses", "tulips", "daisies", "lilies", "ferns"]
        .map(|task| Praised { agent: id(3), task: task.into() });
    assert_eq!(trained(&agency(), &praised).agents().len(), 3);
}

#[test]
fn a_lesson_has_the_same_name_until_something_differs() {
    let praised = |agent| [Praised { agent: id(agent), task: "book a room".into() }];
    let name = |praised: &[Praised]| Lesson::of(&agency(), praised).digest();
    assert_eq!(name(&praised(1)), name(&praised(1)));
    assert_ne!(name(&praised(1)), name(&praised(2)));
    assert_ne!(name(&praised(1)), name(&[]));
    assert_eq!(Lesson::of(&office(), &[]).digest(), "");
    // Of two who did the same well, the last counts.
    let both = [praised(2), praised(1)].concat();
    assert_eq!(name(&both), name(&praised(2)));
    assert_eq!(Lesson::of(&agency(), &both).praised(), &[(id(2), 1)].into());
}

#[test]
fn a_lesson_is_learnt_to_a_bound_and_nobody_is_forgotten() {
    let long = |of: usize| Praised { agent: id(1), task: format!("{of} ") + &"word ".repeat(400) };
    let praised: Vec<Praised> = (0..1_000).map(long).collect();
    let more = [&praised[..], &[long(1_000), long(1_001)]].concat();
    // A million characters for each of two: the first five hundred tasks, of 2,000 characters each.
    assert_eq!(Lesson::of(&agency(), &praised).digest(), Lesson::of(&agency(), &more).digest());
    assert_ne!(Lesson::of(&agency(), &praised[..300]).digest(), Lesson::of(&agency(), &more).digest());
}

/// Two that fit as well as each other: the record decides, and the propensities say how likely.
#[test]
fn of_two_that_fit_alike_the_one_that_has_done_better_is_likelier() {
    let twins = [agent(1, "one", "Waters roses", &[], &[]), agent(2, "two", "Waters roses", &[], &[])];
    let choose_at = |selector: &Selector, draw| {
        let knowledge = Knowledge { selector, trained: None, now: DateTime::UNIX_EPOCH, draw };
        choose("water the roses", &twins, &Wish::default(), knowledge).unwrap()
    };
    let nothing = choose_at(&Selector::default(), 0.0);
    assert!(nothing.propensities.iter().all(|(_, share)| (share - 0.5).abs() < 1e-6), "{nothing:?}");
    let known = knowing(record(&[outcomes(id(1), false, 4), outcomes(id(2), true, 20)].concat()));
    let (early, late) = (choose_at(&known, 0.0), choose_at(&known, 0.5));
    assert_eq!((early.agent, late.agent), (id(1), id(2)));
    assert!(early.propensity().unwrap() < 0.1 && late.propensity().unwrap() > 0.9, "{late:?}");
    assert!(late.reason.contains("about as well") && late.reason.contains("drawn"), "{}", late.reason);
    // How often each is chosen is what the propensities say.
    let chosen = (0..1_000).filter(|n| choose_at(&known, f64::from(*n) / 1_000.0).agent == id(2)).count();
    assert!((lexical::as_f64(chosen) / 1_000.0 - late.propensity().unwrap()).abs() < 0.01, "{chosen}");
}

#[test]
fn who_fits_clearly_is_not_explored_away_by_the_record() {
    let known = knowing(record(&[outcomes(id(1), false, 4), outcomes(id(2), true, 50)].concat()));
    let selection = warm("book a flight to berlin", &known, &trained(&agency(), &[]), 0.999);
    assert_eq!((selection.agent, selection.propensity()), (id(1), Some(1.0)));
}

#[test]
fn who_keeps_failing_is_left_out_while_there_is_somebody_else() {
    let now = DateTime::UNIX_EPOCH;
    let failing =
        |agent| outcomes(agent, false, 5).into_iter().map(move |one| Outcome { ended_at: now, ..one });
    let selector = knowing(record(&failing(id(2)).collect::<Vec<_>>()));
    let knowledge = Knowledge { selector: &selector, trained: None, now, draw: 0.0 };
    let wish = Wish::default();
    assert_ne!(choose("check invoices", &office(), &wish, knowledge).unwrap().agent, id(2));
    let later = Knowledge { now: now + TimeDelta::minutes(10), ..knowledge };
    assert_eq!(choose("check invoices", &office(), &wish, later).unwrap().agent, id(2));
    let only = Wish { candidates: vec![id(2)], ..wish };
    assert_eq!(choose("check invoices", &office(), &only, knowledge).unwrap().agent, id(2));
}

#[test]
fn draws_of_ids_that_count_up_are_spread_evenly() {
    let of = |bits| draw(RunId::from_uuid(Uuid::from_u128(bits)));
    assert!(of(7).to_bits() == of(7).to_bits() && of(u128::MAX) < 1.0);
    for tenth in 0..10 {
        let range = f64::from(tenth) / 10.0..f64::from(tenth + 1) / 10.0;
        let (high, low) = (0x0190_0000_0000_7000_u128 << 64, 1_u128 << 63);
        let within = (0..1_000).filter(|number| range.contains(&of(high | low | (number << 32)))).count();
        assert!((60..140).contains(&within), "{within} of 1000 in {range:?}");
    }
}

proptest! {
    #[test]
    fn the_order_of_the_agents_does_not_matter(task in "[a-z ]{0,40}", turn in 0_usize..3) {
        let mut turned = office();
        turned.rotate_left(turn);
        prop_assert_eq!(cold(&task, &turned, &Wish::default()), cold(&task, &office(), &Wish::default()));
    }

    #[test]
    fn no_task_breaks_it(task in "\\PC{0,200}", draw in 0.0_f64..1.0) {
        let selection = cold(&task, &office(), &Wish::default()).unwrap();
        prop_assert!(selection.scores.iter().all(|(_, score)| score.is_finite() && *score >= 0.0));
        let selection = warm(&task, &Selector::default(), &trained(&agency(), &[]), draw);
        prop_assert!(selection.propensity().is_some_and(|share| share > 0.0 && share <= 1.0));
    }
}
