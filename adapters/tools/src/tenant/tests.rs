//! Declared tools against names whose owners cheat.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;

use powerhouse_domain::access::{Principal, Role};
use powerhouse_domain::ids::{SessionId, TenantId, UserId};
use powerhouse_domain::tools::{HttpMethod, Limits, ToolOutput};
use powerhouse_egress::{AddressPolicy, Egress, Lookup};
use powerhouse_ports::secrets::MockSecretReader;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::*;

/// Gives these answers, one after the other, and the last one for ever.
struct Changing(Mutex<Vec<&'static [&'static str]>>);

#[async_trait]
impl Lookup for Changing {
    async fn addresses_of(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().expect("nobody panics");
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
        Ok(answer.iter().map(|text| text.parse().expect("an address")).collect())
    }
}

fn scope() -> TenantScope {
    let (tenant, user) = (TenantId::from_uuid(Uuid::from_u128(1)), UserId::from_uuid(Uuid::from_u128(2)));
    Principal::verified(tenant, user, SessionId::from_uuid(Uuid::from_u128(3)), Role::Owner).scope()
}

fn other_scope() -> TenantScope {
    let (tenant, user) = (TenantId::from_uuid(Uuid::from_u128(9)), UserId::from_uuid(Uuid::from_u128(2)));
    Principal::verified(tenant, user, SessionId::from_uuid(Uuid::from_u128(3)), Role::Owner).scope()
}

/// Tools that may reach 127.0.0.1 alone, by a resolver that answers so.
fn tools(answers: Vec<&'static [&'static str]>) -> TenantTools {
    let policy = AddressPolicy::new(|_, address| address == IpAddr::from([127, 0, 0, 1]));
    let egress = Egress { policy, lookup: Arc::new(Changing(Mutex::new(answers))), timeouts: TIMEOUTS };
    let trusted = Hosts::new(["crm.test"]).expect("hosts");
    TenantTools::through(
        Guarded::through(&egress, trusted).expect("a client"),
        Sockets::new(Hosts::default()),
        Arc::new(MockSecretReader::new()),
    )
}

async fn call(tools: &TenantTools, url: String) -> ToolOutput {
    let tool = HttpTool {
        description: "d".into(),
        parameters: json!({"type": "object"}),
        method: HttpMethod::Get,
        url,
        query: Vec::new(),
        headers: BTreeMap::new(),
        body: None,
        auth: None,
        limits: Limits::default(),
        safe_to_repeat: true,
    };
    let tool = tools.http(&scope(), &"look".parse().expect("a name"), &tool, &EgressRules::default());
    tool.call(&crate::tests::key(), &json!({})).await
}

async fn stub() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";
            let _ = stream.write_all(answer).await;
        }
    });
    port
}

/// The connection goes to the address that was checked: a name that changes its answer in between gains nothing.
#[tokio::test]
async fn s40_a_name_that_changes_its_answer_is_checked_each_time() {
    let port = stub().await;
    let url = || format!("http://crm.test:{port}/");
    let rebound = tools(vec![&["127.0.0.1"], &["10.0.0.1"]]);
    assert_eq!(call(&rebound, url()).await.content, "status: 200\ncontent type: text/plain\n\nhello");
    let output = call(&rebound, url()).await;
    assert!(output.is_error && output.content.contains("not on the public Internet"), "{output:?}");
    let mixed = tools(vec![&["127.0.0.1", "169.254.169.254"]]);
    assert!(call(&mixed, url()).await.content.contains("not on the public Internet"));
}

#[tokio::test]
async fn s40_other_hosts_need_tls_and_literals_are_checked() {
    let tools = tools(vec![&["127.0.0.1"]]);
    for (url, said) in [
        ("http://other.test/", "must begin with https://"),
        ("https://10.0.0.1/", "not on the public Internet"),
        ("https://[::ffff:127.0.0.1]/", "not on the public Internet"),
    ] {
        let output = call(&tools, url.to_owned()).await;
        assert!(output.is_error && output.content.contains(said), "{url}: {output:?}");
        assert!(tools.check_url(&scope(), url, &EgressRules::default()).is_err(), "{url}");
    }
}

/// S40, S41: a private address is reached by the tenants that the operator names, and by nobody on its own word.
#[tokio::test]
async fn what_the_operator_opens_to_a_tenant_is_open_to_no_other() {
    let port = stub().await;
    let (ours, theirs) = (scope(), other_scope());
    let secrets: Arc<dyn SecretReader> = Arc::new(MockSecretReader::new());
    let own = BTreeMap::from([(ours.tenant_id(), Hosts::new(["127.0.0.1"]).expect("hosts"))]);
    let tools = TenantTools::new(&Hosts::default(), own, &secrets).expect("a client");
    let url = format!("http://127.0.0.1:{port}/");
    let listed = |hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| host.parse().expect("a host")).collect();
        EgressRules::default().replaced(Some(hosts)).expect("rules")
    };
    let all = EgressRules::default();
    assert!(tools.check_url(&ours, &url, &all).is_ok());
    assert_eq!(tools.document(&ours, &url, &all).await.as_deref(), Ok("hello"));
    assert!(tools.check_url(&ours, &url, &listed(&["example.org"])).is_err(), "its own list still narrows");
    for rules in [&all, &listed(&["127.0.0.1"])] {
        assert!(tools.check_url(&theirs, &url, rules).is_err(), "a tenant opens nothing by itself");
        assert!(tools.document(&theirs, &url, rules).await.is_err());
    }
    assert!(
        tools.check_url(&theirs, "https://example.org/", &all).is_ok(),
        "what is public is open without a list"
    );
}
