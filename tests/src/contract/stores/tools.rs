//! Tools and MCP servers that tenants declare, and where these may reach.

use std::collections::BTreeMap;

use powerhouse_domain::tenants::Plan;
use powerhouse_domain::tools::{
    Auth, Database, EgressRules, HttpMethod, HttpTool, Limits, Listing, McpServer, McpTool, SourceKind,
    TenantTool, Tls, ToolSource,
};
use powerhouse_ports::store::{Limit, StoreError};
use serde_json::json;

use super::Stores;
use crate::contract::sample::{Office, at, office};

fn http(office: &Office, name: &str) -> TenantTool {
    let tool = HttpTool {
        description: "Finds people".into(),
        parameters: json!({"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}),
        method: HttpMethod::Post,
        url: "https://crm.example.org/{id}".into(),
        query: vec!["limit".into()],
        headers: BTreeMap::from([("X-Region".into(), "region".into())]),
        body: Some("note".into()),
        auth: Some(Auth::Header { name: "X-Key".into(), secret: "crm".parse().expect("a name") }),
        limits: Limits::new(7, 9).expect("limits"),
        safe_to_repeat: true,
    };
    TenantTool::new(name.parse().expect("a name"), ToolSource::Http(tool), office.owner.id(), at(1))
}

fn mcp(office: &Office, name: &str) -> TenantTool {
    let tool = McpTool::described("find", "Finds", json!({"type": "object"}), true).expect("a tool");
    let listing = Listing { tools: vec![tool], asked_at: Some(at(2)), problem: Some("away".into()) };
    let server = McpServer {
        url: "https://mcp.example.org/".into(),
        auth: Some(Auth::Bearer { secret: "crm".parse().expect("a name") }),
        allowed: Some(vec!["find".into()]),
        limits: Limits::default(),
        listing,
    };
    TenantTool::new(name.parse().expect("a name"), ToolSource::Mcp(server), office.owner.id(), at(1))
}

fn database(office: &Office, name: &str) -> TenantTool {
    let database = Database {
        description: "Orders".into(),
        host: "db.example.org".into(),
        port: 6432,
        database: "sales".into(),
        user: "reader".into(),
        password: Some("sales".parse().expect("a name")),
        tls: Tls::Verified,
        certificates: Some("-----BEGIN CERTIFICATE-----".into()),
        schemas: vec!["public".into(), "shop".into()],
        rows: 7,
        limits: Limits::new(8, 9).expect("limits"),
    };
    TenantTool::new(name.parse().expect("a name"), ToolSource::Database(database), office.owner.id(), at(1))
}

fn rules(version: u64, hosts: Option<&[&str]>) -> EgressRules {
    let hosts = hosts.map(|hosts| hosts.iter().map(|host| host.parse().expect("a host")).collect());
    EgressRules::restore(hosts, version)
}

async fn stored(stores: &Stores, office: &Office, tools: &[TenantTool]) {
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    for tool in tools {
        tx.tools().add(tool).await.expect("add");
    }
    tx.commit().await.expect("commit");
}

/// What is stored is found as it was, by its name, and in the order of names by kind.
pub async fn tools_survive(stores: &Stores) {
    let office = office(&*stores.platform, Plan::Team).await;
    let (b, a, c) = (http(&office, "b"), http(&office, "a"), mcp(&office, "c"));
    let e = database(&office, "e");
    stored(stores, &office, &[b.clone(), a.clone(), c.clone(), e.clone()]).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    for tool in [&a, &b, &c, &e] {
        assert_eq!(tx.tools().find(&tool.name).await.expect("find").as_ref(), Some(tool));
    }
    assert_eq!(tx.tools().find(&"d".parse().expect("a name")).await.expect("find"), None);
    assert_eq!(tx.tools().count().await.expect("count"), 4);
    let names = [c.name.clone(), "d".parse().expect("a name"), a.name.clone()];
    assert_eq!(tx.tools().named(&names).await.expect("named"), [a.clone(), c.clone()]);
    assert_eq!(tx.tools().named(&[]).await.expect("named"), []);
    let one = Limit::new(1).expect("a limit");
    let page = tx.tools().list(SourceKind::Http, None, one).await.expect("list");
    assert_eq!(page.items, vec![a.clone()]);
    let rest = tx.tools().list(SourceKind::Http, page.next, one).await.expect("list");
    assert_eq!((rest.items, rest.next), (vec![b.clone()], None));
    assert_eq!(tx.tools().list(SourceKind::Mcp, None, one).await.expect("list").items, vec![c.clone()]);
    assert_eq!(tx.tools().list(SourceKind::Database, None, one).await.expect("list").items, vec![e]);

    let changed = a.clone().changed(b.source.clone(), at(9));
    tx.tools().update(&changed).await.expect("update");
    assert_eq!(tx.tools().find(&a.name).await.expect("find"), Some(changed.clone()));
    for refused in [tx.tools().update(&changed).await, tx.tools().add(&mcp(&office, "a")).await] {
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    assert!(tx.tools().remove(&a.name).await.expect("remove"));
    assert!(!tx.tools().remove(&a.name).await.expect("remove"));

    assert_eq!(tx.tools().egress().await.expect("read"), EgressRules::default());
    let first = rules(1, Some(&["crm.example.org", "*.example.com"]));
    tx.tools().replace_egress(&first).await.expect("replace");
    for stale in [&first, &rules(3, None)] {
        let refused = tx.tools().replace_egress(stale).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(tx.tools().egress().await.expect("read"), first);
    for next in [rules(2, None), rules(3, Some(&[]))] {
        tx.tools().replace_egress(&next).await.expect("replace");
        assert_eq!(tx.tools().egress().await.expect("read"), next);
    }
    tx.commit().await.expect("commit");
}

/// With the names of another tenant's tools in hand, nothing is found and nothing changes.
pub async fn tools_are_their_tenants_own(stores: &Stores) {
    let (ours, theirs) =
        (office(&*stores.platform, Plan::Team).await, office(&*stores.platform, Plan::Team).await);
    let tool = http(&theirs, "find");
    stored(stores, &theirs, std::slice::from_ref(&tool)).await;
    let mut tx = stores.tenants.begin(&theirs.principal.scope()).await.expect("begin");
    let their_rules = rules(1, Some(&["crm.example.org"]));
    tx.tools().replace_egress(&their_rules).await.expect("replace");
    tx.commit().await.expect("commit");

    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    assert_eq!(tx.tools().find(&tool.name).await.expect("find"), None);
    assert_eq!(tx.tools().named(std::slice::from_ref(&tool.name)).await.expect("named"), []);
    let limit = Limit::default();
    assert!(tx.tools().list(SourceKind::Http, None, limit).await.expect("list").items.is_empty());
    assert_eq!(tx.tools().count().await.expect("count"), 0);
    assert!(!tx.tools().remove(&tool.name).await.expect("remove"));
    let refused = tx.tools().update(&tool.clone().changed(tool.source.clone(), at(5))).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    assert_eq!(tx.tools().egress().await.expect("read"), EgressRules::default());
    tx.tools().add(&mcp(&ours, "find")).await.expect("the same name is free here");
    tx.tools().replace_egress(&rules(1, Some(&[]))).await.expect("replace");
    tx.tools().replace_egress(&rules(2, None)).await.expect("replace");
    tx.commit().await.expect("commit");

    let mut view = stores.tenants.read(&theirs.principal.scope()).await.expect("read");
    assert_eq!(view.tools().find(&tool.name).await.expect("find"), Some(tool));
    assert_eq!(view.tools().egress().await.expect("read"), their_rules);
}
