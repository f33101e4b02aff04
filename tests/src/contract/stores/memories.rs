//! What agents remember.

use powerhouse_domain::agents::Agent;
use powerhouse_domain::ids::{MemoryId, RunId, UserId};
use powerhouse_domain::memory::{Importance, Memory, MemoryKind, MemoryVector, Whose, Worth};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::Limit;

use super::Stores;
use crate::contract::sample::{Office, agent, at, next_id, office};

fn memory(whose: Whose, kind: MemoryKind) -> Memory {
    Memory {
        id: MemoryId::from_uuid(next_id()),
        whose,
        kind,
        text: "drinks tea".parse().expect("a text"),
        importance: Importance::new(7).expect("a number"),
        created_at: at(3),
        accessed_at: at(4),
        vector: MemoryVector::new("small", vec![0.6, -0.8, f32::MIN_POSITIVE]),
        run: Some(RunId::from_uuid(next_id())),
    }
}

async fn with_agent(stores: &Stores) -> (Office, Agent) {
    let office = office(&*stores.platform, Plan::Team).await;
    let helper = agent("helper");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.agents().add(&helper).await.expect("add");
    tx.commit().await.expect("commit");
    (office, helper)
}

async fn add(stores: &Stores, office: &Office, memories: &[&Memory]) {
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    for memory in memories {
        tx.memories().add(memory).await.expect("add");
    }
    tx.commit().await.expect("commit");
}

/// What is stored is found as it was, and as it was changed.
pub async fn memories_survive(stores: &Stores) {
    let (office, helper) = with_agent(stores).await;
    let whose = Whose { agent: helper.id(), user: Some(office.owner.id()) };
    let first = memory(whose, MemoryKind::Fact);
    let bare = Memory { vector: None, run: None, ..memory(Whose { user: None, ..whose }, MemoryKind::Skill) };
    add(stores, &office, &[&first, &bare]).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    assert_eq!(tx.memories().find(first.id).await.expect("find").as_ref(), Some(&first));
    assert_eq!(tx.memories().find(bare.id).await.expect("find").as_ref(), Some(&bare));
    let text = "drinks coffee".parse().expect("a text");
    let changed = Memory { text, importance: Importance::default(), vector: None, ..first.clone() };
    assert!(tx.memories().update(&changed).await.expect("update"));
    tx.memories().touch(&[bare.id], at(9)).await.expect("touch");
    tx.memories().touch(&[bare.id], at(8)).await.expect("touch");
    tx.memories().touch(&[], at(99)).await.expect("touch");
    assert_eq!(tx.memories().find(first.id).await.expect("find"), Some(changed.clone()));
    let seen = tx.memories().find(bare.id).await.expect("find").map(|memory| memory.accessed_at);
    assert_eq!(seen, Some(at(9)), "what came to mind later counts");
    assert!(tx.memories().remove(first.id).await.expect("remove"));
    assert!(!tx.memories().remove(first.id).await.expect("remove"));
    assert!(!tx.memories().update(&changed).await.expect("update"));
    assert_eq!(tx.memories().find(first.id).await.expect("find"), None);
}

/// What an agent remembers of one user is not what it remembers of another, or of all, and is listed page by page.
pub async fn memories_are_found_by_whose_they_are(stores: &Stores) {
    let (office, helper) = with_agent(stores).await;
    let other_agent = agent("other");
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.agents().add(&other_agent).await.expect("add");
    tx.commit().await.expect("commit");
    let mine = Whose { agent: helper.id(), user: Some(office.owner.id()) };
    let theirs = Whose { user: Some(UserId::from_uuid(next_id())), ..mine };
    let shared = Whose { user: None, ..mine };
    let elsewhere = Whose { agent: other_agent.id(), ..mine };
    let fact = memory(mine, MemoryKind::Fact);
    let skill = memory(mine, MemoryKind::Skill);
    let others = [theirs, shared, elsewhere].map(|whose| memory(whose, MemoryKind::Fact));
    add(stores, &office, &[&fact, &skill, &others[0], &others[1], &others[2]]).await;

    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    assert_eq!(tx.memories().all(mine).await.expect("all"), [fact.clone(), skill.clone()]);
    for (whose, other) in [theirs, shared, elsewhere].iter().zip(&others) {
        assert_eq!(tx.memories().all(*whose).await.expect("all"), std::slice::from_ref(other));
    }
    let worth = |memory: &Memory| Worth {
        id: memory.id,
        importance: memory.importance,
        accessed_at: memory.accessed_at,
    };
    assert_eq!(tx.memories().worth(mine).await.expect("worth"), [worth(&fact), worth(&skill)]);
    let one = Limit::new(1).expect("a limit");
    let page = tx.memories().list(mine, None, None, one).await.expect("list");
    assert_eq!((page.items, page.next), (vec![fact.clone()], Some(fact.id)));
    let page = tx.memories().list(mine, None, Some(fact.id), one).await.expect("list");
    assert_eq!((page.items, page.next), (vec![skill.clone()], None));
    let page = tx.memories().list(mine, Some(MemoryKind::Skill), None, one).await.expect("list");
    assert_eq!((page.items, page.next), (vec![skill.clone()], None));

    assert_eq!(tx.memories().erase(mine).await.expect("erase"), 2);
    assert_eq!(tx.memories().erase(mine).await.expect("erase"), 0);
    assert_eq!(tx.memories().all(elsewhere).await.expect("all").len(), 1);
    assert_eq!(tx.memories().erase_user(office.owner.id()).await.expect("erase"), 1);
    assert_eq!(tx.memories().all(elsewhere).await.expect("all"), []);
    assert_eq!(tx.memories().all(theirs).await.expect("all").len(), 1);
    assert_eq!(tx.memories().all(shared).await.expect("all").len(), 1);
}

/// With another tenant's ids in hand, nothing is found and nothing changes.
pub async fn memories_are_their_tenants_own(stores: &Stores) {
    let (theirs, helper) = with_agent(stores).await;
    let ours = office(&*stores.platform, Plan::Team).await;
    let whose = Whose { agent: helper.id(), user: Some(theirs.owner.id()) };
    let kept = memory(whose, MemoryKind::Fact);
    add(stores, &theirs, &[&kept]).await;
    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    assert_eq!(tx.memories().find(kept.id).await.expect("find"), None);
    assert!(tx.memories().list(whose, None, None, Limit::default()).await.expect("list").items.is_empty());
    assert!(tx.memories().all(whose).await.expect("all").is_empty());
    assert!(tx.memories().worth(whose).await.expect("worth").is_empty());
    let text = "drinks poison".parse().expect("a text");
    assert!(!tx.memories().update(&Memory { text, ..kept.clone() }).await.expect("update"));
    tx.memories().touch(&[kept.id], at(99)).await.expect("touch");
    assert!(!tx.memories().remove(kept.id).await.expect("remove"));
    assert_eq!(tx.memories().erase(whose).await.expect("erase"), 0);
    assert_eq!(tx.memories().erase_user(theirs.owner.id()).await.expect("erase"), 0);
    tx.commit().await.expect("commit");
    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    assert!(tx.memories().add(&kept).await.is_err(), "there is no such agent here");
    drop(tx);
    let mut view = stores.tenants.read(&theirs.principal.scope()).await.expect("read");
    assert_eq!(view.memories().all(whose).await.expect("all"), [kept]);
}
