//! Databases that a tenant declares, on the real PostgreSQL of the tests: an analyst answers from a table, and whatever a model
//! writes, nothing changes and nothing takes long.

use powerhouse_tests::own_database::{OwnDatabase, PASSWORD};
use powerhouse_tests::own_postgres::OwnPostgres;
use powerhouse_tests::stub_model::{Answer, StubModel};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Caller, Server, binary};

const CANARY: &str = "canary-database-77ab3e";

/// A shop's database, and a role that may read some of it.
pub(crate) struct Shop {
    own: OwnDatabase,
    reader: String,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let own = OwnDatabase::empty().await;
        let reader = format!("reader_{}", Uuid::new_v4().simple());
        own.run(&format!(
            "CREATE ROLE {reader} LOGIN PASSWORD '{CANARY}';
             CREATE SCHEMA shop; CREATE SCHEMA hidden;
             CREATE TABLE shop.customers (id int PRIMARY KEY, name text NOT NULL);
             CREATE TABLE shop.orders (id int PRIMARY KEY, customer int NOT NULL REFERENCES shop.customers, placed_on date NOT NULL,
                 amount numeric(10, 2));
             COMMENT ON TABLE shop.orders IS 'One row an order'; COMMENT ON COLUMN shop.orders.amount IS 'in euros';
             CREATE TABLE shop.salaries (person text, amount int); CREATE TABLE hidden.codes (code text);
             INSERT INTO shop.customers VALUES (1, 'Ada'), (2, 'Bob');
             INSERT INTO shop.orders SELECT n, 1 + n % 2, DATE '2026-03-02' + n % 3, CASE WHEN n > 1 THEN n * 1.5 END
                 FROM generate_series(1, 9) n;
             CREATE FUNCTION shop.spend() RETURNS int LANGUAGE plpgsql AS
                 $$ BEGIN DELETE FROM shop.orders; RETURN 1; END $$;
             GRANT USAGE ON SCHEMA shop, hidden TO {reader};
             GRANT SELECT, INSERT, DELETE ON shop.customers, shop.orders TO {reader};"
        ))
        .await;
        Self { own, reader }
    }

    /// How the command line names it.
    pub(crate) fn url(&self) -> String {
        let mut url = self.own.owner();
        url.set_username(&self.reader).expect("a URL with a host");
        url.set_password(None).expect("a URL with a host");
        format!("{url}?schemas=shop&tls=off")
    }

    /// The declaration of it.
    fn declared(&self) -> Value {
        let url = self.own.owner();
        json!({"description": "Orders of the shop.", "host": url.host_str(), "port": url.port().unwrap_or(5432),
            "database": url.path().trim_start_matches('/'), "user": self.reader, "password": "shop-password", "tls": "off",
            "schemas": ["shop"], "max_rows": 5, "timeout_seconds": 2})
    }

    pub(crate) async fn close(self) {
        self.own.run(&format!("DROP OWNED BY {0}; DROP ROLE {0}", self.reader)).await;
    }
}

fn server(stub: &StubModel) -> Server {
    Server::with(&[
        ("POWERHOUSE__MODEL__BASE_URL", &stub.base_url()),
        ("POWERHOUSE__TOOLS__ALLOW", "127.0.0.1"),
        ("POWERHOUSE__LOG__FILTER", "trace"),
    ])
}

async fn declare(ada: &Caller, shop: &Shop) -> Value {
    ada.post("/v1/secrets", &json!({"name": "shop-password", "value": CANARY})).await;
    ada.post("/v1/databases", &json!({"name": "shop", "database": shop.declared()})).await
}

/// What its tools gave, and whether each call worked.
async fn outputs(ada: &Caller, run: &Value) -> Vec<(String, bool)> {
    let steps = ada.get(&format!("/v1/runs/{}/steps", run["id"].as_str().unwrap())).await;
    let steps = steps["items"].as_array().unwrap().iter().filter(|step| step["kind"] == "tool");
    steps.map(|step| (step["output"].as_str().unwrap().to_owned(), step["status"] == "succeeded")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_answers_from_a_table() {
    let shop = Shop::open().await;
    let query = r#"{"reasoning": "", "sql": "SELECT name, sum(amount) AS total FROM orders JOIN customers c ON c.id = customer GROUP BY 1 ORDER BY 1;"}"#;
    let broken = r#"{"reasoning": "", "sql": "SELECT nam FROM orders"}"#;
    let stub = StubModel::start([
        Answer::text(["orders.amount, customers.name"], 1, 1),
        Answer::text([r#"{"class": "join", "sub_questions": []}"#], 1, 1),
        Answer::text([broken], 1, 1),
        Answer::text([broken], 1, 1),
        Answer::text([query], 1, 1),
        Answer::text(["Ada ordered for 30 euros, Bob for 36."], 1, 1),
    ])
    .await
    .unwrap();
    let server = server(&stub);
    let ada = server.tenant("acme").await;
    let made = declare(&ada, &shop).await;
    assert_eq!(made["tools"], json!(["shop__schema", "shop__query"]), "{made}");
    assert_eq!((&made["database"]["password"], &made["version"]), (&json!("shop-password"), &json!(1)));
    assert_eq!(ada.get("/v1/databases/shop").await, made);

    let definition = json!({"kind": "sql_analyst", "description": "Knows the orders", "tools": ["shop__*"],
        "parameters": {"schema_tool": "shop__schema", "query_tool": "shop__query"}});
    let agent = ada.publish("analyst", &definition).await;
    let run = ada.run(&json!({"task": "Who ordered for how much?", "agent": agent})).await;
    assert_eq!(run["answer"], "Ada ordered for 30 euros, Bob for 36.", "{run}");
    let outputs = outputs(&ada, &run).await;
    let schema = &outputs[0].0;
    for part in [
        "TABLE shop.orders ( -- One row an order",
        "placed_on date NOT NULL",
        "amount numeric(10,2) -- in euros",
        "PRIMARY KEY (id)",
        "FOREIGN KEY (customer) REFERENCES customers(id)",
    ] {
        assert!(schema.contains(part), "{part}: {schema}");
    }
    assert!(!schema.contains("salaries") && !schema.contains("codes"), "it may not read these: {schema}");
    assert!(!outputs[1].1 && outputs[1].0.contains("column \"nam\" does not exist"), "{outputs:?}");
    let rows: Value = serde_json::from_str(&outputs[2].0).unwrap();
    assert_eq!(rows, json!({"columns": ["name", "total"], "rows": [["Ada", "30.00"], ["Bob", "36.00"]]}));

    // The password is in no log, no prompt, no journal and no file.
    let prompts: String = stub.received().iter().map(|asked| asked.body.to_string()).collect();
    assert!(prompts.contains("<untrusted_tool_output"));
    for text in [
        prompts,
        server.log(),
        format!("{outputs:?}"),
        made.to_string(),
        ada.get("/v1/audit").await.to_string(),
    ] {
        assert!(!text.contains(CANARY), "the password is in {}", &text[..200.min(text.len())]);
    }
    let audit = ada.get("/v1/audit").await.to_string();
    assert!(audit.contains("database.created") && audit.contains("database_shop"), "{audit}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_model_writes_is_refused_or_harmless() {
    let shop = Shop::open().await;
    let file = shop.own.ask("SELECT current_setting('hba_file')").await.remove(0);
    let read_file = format!("SELECT pg_read_file('{file}')");
    let other = format!("SELECT lo_import('{file}')");
    // What is asked, and what the answer says; nothing, when there are rows.
    let attempts: Vec<(&str, &str)> = vec![
        ("INSERT INTO customers VALUES (3, 'Eve')", "syntax error"),
        ("SELECT 1; DELETE FROM orders", "multiple commands"),
        ("SELECT 1); DELETE FROM orders; SELECT (1", "syntax error"),
        ("WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone", "data-modifying"),
        ("SELECT * INTO copied FROM orders", "INTO is not allowed"),
        ("SELECT shop.spend()", "read-only transaction"),
        ("SELECT * FROM orders FOR UPDATE", "read-only transaction"),
        ("SELECT nextval(pg_get_serial_sequence('orders', 'id'))", ""),
        ("COPY orders TO PROGRAM 'id'", "syntax error"),
        ("SET ROLE postgres", "syntax error"),
        ("SELECT set_config('role', 'postgres', false)", "permission denied"),
        ("SELECT set_config('transaction_read_only', 'off', true)", "must be set before any query"),
        ("SELECT * FROM salaries", "permission denied"),
        ("SELECT * FROM hidden.codes", "permission denied"),
        (&read_file, "permission denied"),
        (&other, "permission denied"),
        (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user",
            "must be a superuser",
        ),
        ("SELECT pg_sleep(60)", "longer than 2 seconds"),
        ("SELECT set_config('statement_timeout', '0', true), pg_sleep(60)", "longer than 2 seconds"),
        (
            "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000000000) b",
            "longer than 2 seconds",
        ),
        ("SELECT repeat('x', 20000000)", "larger than 65536 bytes"),
        ("EXPLAIN SELECT 1", "syntax error"),
        ("", "syntax error"),
        ("SELECT generate_series(1, 1000000000)", "more than 5 rows"),
        ("SELECT n, repeat('x', 30000) FROM generate_series(1, 4) n", "larger than 65536 bytes; the first"),
        ("VALUES (1, NULL), (2, 'a')", r#"[["1",null],["2","a"]]"#),
    ];
    // Two runs: one has 50 steps at most.
    let halves = [&attempts[..attempts.len() / 2], &attempts[attempts.len() / 2..]];
    let mut answers = Vec::new();
    for half in halves {
        answers.extend(half.iter().map(|(sql, _)| Answer::call("shop__query", &json!({"sql": sql}), 1, 1)));
        answers.push(Answer::call("shop__query", &json!({"sql": "SELECT 1", "more": 1}), 1, 1));
        answers.push(Answer::text(["Done."], 1, 1));
    }
    let stub = StubModel::start(answers).await.unwrap();
    let server = server(&stub);
    let ada = server.tenant("acme").await;
    declare(&ada, &shop).await;
    let definition = json!({"kind": "react", "description": "Tries", "tools": ["shop__query"],
        "parameters": {"max_turns": 64}});
    let agent = ada.publish("intruder", &definition).await;
    let before = shop.own.ask("SELECT string_agg(o::text, ';' ORDER BY id) FROM shop.orders o").await;
    for half in halves {
        let run = ada.run(&json!({"task": "Break it", "agent": agent})).await;
        let run = ada.ended(run["id"].as_str().unwrap()).await;
        assert_eq!(run["answer"], "Done.", "{run}");
        let outputs = outputs(&ada, &run).await;
        assert_eq!(outputs.len(), half.len() + 1);
        for ((sql, said), (output, _)) in half.iter().zip(&outputs) {
            assert!(output.contains(said), "{sql}: {}", &output[..output.floor_char_boundary(500)]);
            assert!(output.len() < 70_000, "{sql}");
        }
        assert!(outputs.last().unwrap().0.contains("unknown field"));
    }
    assert_eq!(shop.own.ask("SELECT string_agg(o::text, ';' ORDER BY id) FROM shop.orders o").await, before);
    let open = "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'powerhouse' AND datname = current_database()";
    for _ in 0..100 {
        if shop.own.ask(open).await == ["0"] {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(shop.own.ask(open).await, ["0"], "no connection stays");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_declared_changed_and_removed_and_reached_only_where_it_may_be() {
    let shop = Shop::open().await;
    let stub = StubModel::start([
        Answer::call("shop__schema", &json!({}), 1, 1),
        Answer::text(["Nothing."], 1, 1),
        Answer::call("shop__schema", &json!({}), 1, 1),
        Answer::text(["Nothing."], 1, 1),
    ])
    .await
    .unwrap();
    let server = server(&stub);
    let ada = server.tenant("acme").await;
    let good = shop.declared();
    let with = |field: &str, value: Value| {
        let mut database = good.clone();
        database[field] = value;
        json!({"name": "shop", "database": database})
    };
    for (body, pointer) in [
        (with("host", json!("10.0.0.1")), "/database/host"),
        (with("host", json!("[::ffff:169.254.169.254]")), "/database/host"),
        (with("host", json!("db.example.org")), "/database/tls"),
        (with("host", json!("db.example.org:5432")), "/database/host"),
        (with("tls", json!("maybe")), "/database/tls"),
        (with("schemas", json!([])), "/database/schemas"),
        (with("max_rows", json!(0)), "/database/max_rows"),
        (with("password", json!("Not A Name")), "/database/password"),
        (with("timeout_seconds", json!(600)), "/database/timeout_seconds"),
    ] {
        let refused = ada.request(Method::POST, "/v1/databases").json(&body).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(refused.json::<Value>().await.unwrap()["pointer"], pointer, "{body}");
    }
    ada.post("/v1/databases", &json!({"name": "shop", "database": good})).await;
    for (tools, said) in [
        (json!(["shop"]), "is a database: list its tools as"),
        (json!(["shop__drop"]), "it has: shop__schema, shop__query"),
    ] {
        let body = json!({"name": "a", "definition": {"kind": "react", "description": "d", "tools": tools}});
        let refused = ada.request(Method::POST, "/v1/agents").json(&body).send().await.unwrap();
        let problem: Value = refused.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    let definition = json!({"kind": "react", "description": "d", "tools": ["shop__schema"]});
    let agent = ada.publish("looker", &definition).await;
    // Its password is not in the vault.
    let run = ada.run(&json!({"task": "Look", "agent": agent})).await;
    let given = outputs(&ada, &run).await;
    assert!(!given[0].1 && given[0].0.contains("shop-password"), "{given:?}");
    // The tenant's own list does not have the host.
    let put = ada.request(Method::PUT, "/v1/egress-rules").json(&json!({"hosts": ["db.example.org"]}));
    assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);
    let run = ada.run(&json!({"task": "Look", "agent": agent})).await;
    let given = outputs(&ada, &run).await;
    assert!(!given[0].1 && given[0].0.contains("list of hosts"), "{given:?}");

    let refused = ada.request(Method::PUT, "/v1/databases/shop").json(&good).send().await.unwrap();
    assert_eq!(refused.json::<Value>().await.unwrap()["pointer"], "/host");
    let put = ada.request(Method::PUT, "/v1/egress-rules").json(&json!({"hosts": null}));
    assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);
    let put = ada.request(Method::PUT, "/v1/databases/shop").header("If-Match", "\"1\"").json(&good);
    assert_eq!(put.send().await.unwrap().json::<Value>().await.unwrap()["version"], 2);
    assert_eq!(ada.get("/v1/databases").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(ada.get("/v1/tools").await["items"], json!([]));
    let delete = ada.request(Method::DELETE, "/v1/databases/shop").send().await.unwrap();
    assert_eq!(delete.status(), StatusCode::NO_CONTENT);
    let gone = ada.request(Method::GET, "/v1/databases/shop").send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_the_server_proves_who_it_is() {
    let Ok(certificate) = std::env::var("TEST_DATABASE_CERTIFICATE") else {
        eprintln!("skipped: TEST_DATABASE_CERTIFICATE is not set");
        return;
    };
    let shop = Shop::open().await;
    let answers =
        (0..2).flat_map(|_| [Answer::call("shop__schema", &json!({}), 1, 1), Answer::text(["Done."], 1, 1)]);
    let stub = StubModel::start(answers).await.unwrap();
    let server = server(&stub);
    let ada = server.tenant("acme").await;
    ada.post("/v1/secrets", &json!({"name": "shop-password", "value": PASSWORD})).await;
    let mut database = shop.declared();
    database["tls"] = json!("verified");
    ada.post("/v1/databases", &json!({"name": "shop", "database": database})).await;
    let definition = json!({"kind": "react", "description": "d", "tools": ["shop__schema"]});
    let agent = ada.publish("looker", &definition).await;
    let run = ada.run(&json!({"task": "Look", "agent": agent})).await;
    let given = outputs(&ada, &run).await;
    assert!(!given[0].1 && given[0].0.contains("its certificate is not for this host"), "{given:?}");

    database["certificates"] = json!(std::fs::read_to_string(certificate).unwrap());
    let put = ada.request(Method::PUT, "/v1/databases/shop").json(&database).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    let run = ada.run(&json!({"task": "Look", "agent": agent})).await;
    let given = outputs(&ada, &run).await;
    assert!(given[0].1 && given[0].0.contains("TABLE shop.orders"), "{given:?}");
    shop.close().await;
}

/// What a model is told of a password that is not taken: nothing that the server or its driver said.
const NOT_TAKEN: &str = "The database cannot be asked: it does not take the user or the password.";

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_to_be_one_and_no_more() {
    let own = OwnPostgres::with_password(PASSWORD);
    let ask = || {
        [Answer::call("shop__query", &json!({"sql": "SELECT 1 AS one"}), 1, 1), Answer::text(["Done."], 1, 1)]
    };
    let analysis = [
        Answer::text([r#"{"class": "easy", "sub_questions": []}"#], 1, 1),
        Answer::text([r#"{"reasoning": "", "sql": "SELECT 1"}"#], 1, 1),
    ];
    let stub = StubModel::start(ask().into_iter().chain(ask()).chain(ask()).chain(analysis)).await.unwrap();
    let server = server(&stub);
    let ada = server.tenant("acme").await;
    ada.post("/v1/secrets", &json!({"name": "shop-password", "value": CANARY})).await;
    let database = json!({"host": "127.0.0.1", "port": own.port(), "database": "postgres", "user": "postgres",
        "password": "shop-password", "tls": "off"});
    ada.post("/v1/databases", &json!({"name": "shop", "database": database})).await;
    let react = json!({"kind": "react", "description": "Asks", "tools": ["shop__query"]});
    let agent = ada.publish("asker", &react).await;
    let asked = json!({"task": "Ask", "agent": agent});
    let refused = ada.run(&asked).await;
    let mut given = outputs(&ada, &refused).await;
    assert_eq!(given, [(NOT_TAKEN.to_owned(), false)]);

    // A user that is not there is told from a wrong password by nothing.
    let mut nobody = database.clone();
    nobody["user"] = json!("nobody");
    let put = async |path: &str, body: &Value| {
        let answer = ada.request(Method::PUT, path).json(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    };
    put("/v1/databases/shop", &nobody).await;
    given.extend(outputs(&ada, &ada.run(&asked).await).await);
    assert_eq!(given[1], (NOT_TAKEN.to_owned(), false));

    // An analyst has nothing to go by without the schema.
    let analyst = json!({"kind": "sql_analyst", "description": "Knows", "tools": ["shop__*"],
        "parameters": {"schema_tool": "shop__schema", "query_tool": "shop__query"}});
    let agent = ada.publish("analyst", &analyst).await;
    let failed = ada.run(&json!({"task": "Who ordered?", "agent": agent})).await;
    assert_eq!((&failed["status"], &failed["failure"]["code"]), (&json!("failed"), &json!("tool_failed")));

    for text in [
        server.log(),
        format!("{given:?} {failed}"),
        stub.received().iter().map(|asked| asked.body.to_string()).collect(),
        ada.get("/v1/audit").await.to_string(),
    ] {
        for word in [CANARY, "authentication failed", "scram"] {
            assert!(!text.to_lowercase().contains(word), "{word} is in {}", &text[..200.min(text.len())]);
        }
    }

    // It was the password: with the right one it answers.
    put("/v1/databases/shop", &database).await;
    put("/v1/secrets/shop-password", &json!({"value": PASSWORD})).await;
    let given = outputs(&ada, &ada.run(&asked).await).await;
    assert_eq!(given, [(r#"{"columns":["one"],"rows":[["1"]]}"#.to_owned(), true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_is_tried_with_a_database_that_is_gone_after_the_run() {
    let own = OwnPostgres::with_password(PASSWORD);
    let stub = StubModel::start([
        Answer::call("shop__query", &json!({"sql": "SELECT 1 AS one"}), 1, 1),
        Answer::text(["One."], 1, 1),
    ])
    .await
    .unwrap();
    let server = server(&stub);
    let run = |database: &str, password: &str| {
        let mut command = binary(server.folder());
        command.args(["run", "--kind", "react", "--database", database, "--url", &server.base, "Ask"]);
        let output = command.env("POWERHOUSE_DATABASE_PASSWORD", password).output().unwrap();
        [output.stdout, output.stderr].map(|printed| String::from_utf8(printed).unwrap())
    };
    let shop = format!("shop=postgres://postgres@127.0.0.1:{}/postgres?tls=off", own.port());
    let [shown, errors] = run(&shop, PASSWORD);
    assert!(
        shown.contains(r#"→ {"columns":["one"],"rows":[["1"]]}"#) && errors.is_empty(),
        "{shown}{errors}"
    );
    // What was made for it is gone, also when it came to nothing.
    for (database, said) in [
        (shop.replace("127.0.0.1", "10.0.0.1"), "database/host"),
        (shop.replace("shop=", "Shop="), "name"),
        (shop.replace("postgres@", &format!("postgres:{CANARY}@")), "POWERHOUSE_DATABASE_PASSWORD"),
    ] {
        let [shown, errors] = run(&database, PASSWORD);
        assert!(errors.starts_with("error: ") && errors.contains(said), "{database}: {shown}{errors}");
        assert!(!errors.contains(CANARY), "{errors}");
    }
    let owner = server.first_owner().await;
    for list in ["/v1/databases", "/v1/secrets"] {
        assert_eq!(owner.get(list).await["items"], json!([]), "{list}");
    }
}
