//! What runs have asked people.

use powerhouse_domain::ids::ApprovalId;
use powerhouse_domain::runs::{
    Approval, ApprovalRule, ApprovalRules, Decision, Demand, EventBody, Question, Run,
};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::{Limit, NewEvent, StoreError, TenantTx};

use super::Stores;
use crate::contract::sample::{Office, agent, at, next_id, office, run};

/// A question of a run.
pub fn question(run: &Run) -> Approval {
    let (name, arguments) = ("pay".into(), serde_json::json!({"amount": 5}));
    let question = Question::ToolCall { name, arguments, demand: Demand::Agent };
    let key = "0.1".parse().expect("a key");
    Approval::ask(ApprovalId::from_uuid(next_id()), run.id(), key, question, at(10), at(70))
}

/// In this tenant's transaction, another's question is neither found nor listed nor answered.
pub(super) async fn are_not_seen(tx: &mut dyn TenantTx, theirs: &Approval, ours: &Office) {
    assert_eq!(tx.approvals().find(theirs.id()).await.expect("find"), None);
    assert!(tx.approvals().list(false, None, Limit::default()).await.expect("list").items.is_empty());
    let answered = theirs.clone().answered(ours.owner.id(), Decision::Approve, at(20)).expect("in time");
    assert!(tx.approvals().answer(&answered).await.is_err(), "another tenant's run was answered");
}

async fn asked(stores: &Stores, count: usize) -> (Office, Vec<Approval>) {
    let office = office(&*stores.platform, Plan::Team).await;
    let run = run(office.owner.id(), &agent("helper"), 5);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.runs().add(&run).await.expect("add");
    let mut questions = Vec::new();
    for _ in 0..count {
        let question = question(&run);
        tx.approvals().add(&question).await.expect("add");
        questions.push(question);
    }
    tx.commit().await.expect("commit");
    (office, questions)
}

/// Of many who answer at the same time one is heard, and what was said stays.
pub async fn a_question_is_answered_once(stores: &Stores) {
    let (office, questions) = asked(stores, 1).await;
    let question = questions[0].clone();
    let answers = (0..8).map(|number| {
        let (stores, office, question) = (stores.clone(), office.clone(), question.clone());
        tokio::spawn(async move {
            let decision = Decision::Reject { reason: format!("{number}") };
            let answered = question.answered(office.owner.id(), decision, at(20)).expect("in time");
            let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
            match tx.approvals().answer(&answered).await {
                Ok(()) => tx.commit().await.map(|()| Some(answered)).expect("commit"),
                Err(StoreError::Conflict { .. }) => None,
                Err(error) => panic!("{error:?}"),
            }
        })
    });
    let mut heard = Vec::new();
    for answer in answers.collect::<Vec<_>>() {
        heard.extend(answer.await.expect("the task ends"));
    }
    let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
    let found = view.approvals().find(question.id()).await.expect("find");
    assert_eq!((heard.len(), found.as_ref()), (1, heard.first()));
}

/// Questions are listed newest first, page by page, all or those without an answer.
pub async fn open_questions_are_listed(stores: &Stores) {
    let (office, questions) = asked(stores, 5).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let answered =
        questions[3].clone().answered(office.owner.id(), Decision::Approve, at(20)).expect("in time");
    tx.approvals().answer(&answered).await.expect("answer");
    let two = Limit::new(2).expect("a limit");
    let page = tx.approvals().list(true, None, two).await.expect("list");
    assert_eq!(page.items, [questions[4].clone(), questions[2].clone()]);
    let rest = tx.approvals().list(true, page.next, two).await.expect("list");
    assert_eq!((rest.items, rest.next), (vec![questions[1].clone(), questions[0].clone()], None));
    let all = tx.approvals().list(false, None, Limit::default()).await.expect("list");
    assert_eq!((all.items.len(), &all.items[1]), (5, &answered));
}

/// What somebody says is appended to the journal of a run that stays as it is, and not to one that has changed or ended.
pub async fn what_is_said_is_appended_to_a_run_that_stays_as_it_is(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let queued = run(office.owner.id(), &agent("helper"), 5);
    let said = [NewEvent { at: at(9), body: EventBody::PauseAsked { by: office.owner.id() } }];
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.runs().add(&queued).await.expect("add");
    assert_eq!(tx.runs().append(&queued, &said).await.expect("append"), 2);
    assert_eq!(tx.runs().find(queued.id()).await.expect("find").as_ref(), Some(&queued));
    let ended = queued.clone().cancel(office.owner.id(), at(10)).expect("cancel");
    tx.runs().update(&ended, &[]).await.expect("update");
    for run in [&queued, &ended] {
        let refused = tx.runs().append(run, &said).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(tx.runs().events(queued.id(), 0, 10).await.expect("events").len(), 2);
}

fn rules(version: u64, tools: &[&str]) -> ApprovalRules {
    let rule = |tool: &&str| {
        let agents = vec![agent("helper").id()];
        ApprovalRule::new(tool.parse().expect("a pattern"), agents, "why".into()).expect("a rule")
    };
    ApprovalRules::restore(tools.iter().map(rule).collect(), version)
}

/// Rules are read as they were written, replaced as a whole, and only at the version that was read.
pub async fn rules_are_replaced_as_a_whole(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let scope = office.principal.scope();
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    assert_eq!(tx.approval_rules().read().await.expect("read"), ApprovalRules::default());
    let first = rules(1, &["pay*", "look"]);
    tx.approval_rules().replace(&first).await.expect("replace");
    for stale in [rules(1, &[]), rules(3, &[])] {
        let refused = tx.approval_rules().replace(&stale).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    tx.commit().await.expect("commit");
    let mut tx = stores.tenants.begin(&scope).await.expect("begin");
    assert_eq!(tx.approval_rules().read().await.expect("read"), first);
    let second = rules(2, &["*"]);
    tx.approval_rules().replace(&second).await.expect("replace");
    assert_eq!(tx.approval_rules().read().await.expect("read"), second);
}

/// A tenant's rules are nobody else's.
pub async fn rules_are_their_tenants_own(stores: &Stores) {
    let (ours, theirs) =
        (office(&*stores.platform, Plan::Team).await, office(&*stores.platform, Plan::Team).await);
    let put = async |office: &Office, rules: &ApprovalRules| {
        let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
        tx.approval_rules().replace(rules).await.expect("replace");
        tx.commit().await.expect("commit");
    };
    let read = async |office: &Office| {
        let mut view = stores.tenants.read(&office.principal.scope()).await.expect("read");
        view.approval_rules().read().await.expect("read")
    };
    let (one, other) = (rules(1, &["pay"]), rules(1, &["look"]));
    put(&theirs, &one).await;
    assert_eq!(read(&ours).await, ApprovalRules::default());
    put(&ours, &other).await;
    put(&ours, &rules(2, &[])).await;
    assert_eq!(read(&theirs).await, one);
}
