//! `powerhouse-bench search`: searches of a tenant's documents at the bound, with vectors compared by the server and by
//! PostgreSQL.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::http::Connection;
use crate::measured::{Figures, Worker, measure, median};
use crate::model;
use crate::site::{PASSWORD, Site, say};

/// Chunks of a document, and of one statement.
const OF_A_DOCUMENT: u64 = 250;

/// How searches are measured.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) chunks: u64,
    /// Numbers of a vector; 384 and 1,536 when it is 0.
    pub(crate) dimensions: u64,
    pub(crate) connections: u64,
    pub(crate) time: Duration,
    pub(crate) rounds: u64,
}

/// For each length of vectors: makes two databases of the same documents, one without `pgvector`; measures, and drops them.
pub(crate) async fn bench(load: Load) -> anyhow::Result<()> {
    let model = format!("http://{}/v1", model::serve(0)?);
    println!(
        "{} chunks, {} connections, {} rounds of {:?} each; generator, servers, embedder, PostgreSQL and Redis share {} cores",
        load.chunks,
        load.connections,
        load.rounds,
        load.time,
        std::thread::available_parallelism()?
    );
    println!(
        "| dimensions | compared by the server, p50 | by PostgreSQL | ratio | read by the server | with pgvector |"
    );
    println!("|---|---|---|---|---|---|");
    let lengths = if load.dimensions == 0 { vec![384, 1_536] } else { vec![load.dimensions] };
    for dimensions in lengths {
        let mut libraries = Vec::new();
        for has_pgvector in [false, true] {
            libraries.push(Library::furnish(&model, dimensions, load.chunks, has_pgvector).await?);
        }
        let measured = searches(&mut libraries, dimensions, load).await;
        for library in libraries {
            library.site.clear().await?;
        }
        measured?;
    }
    Ok(())
}

/// A database with documents, and a server on it.
struct Library {
    site: Site,
    address: SocketAddr,
    token: String,
}

impl Library {
    async fn furnish(model: &str, dimensions: u64, chunks: u64, has_pgvector: bool) -> anyhow::Result<Self> {
        let name = format!("stub-{dimensions}");
        let mut site = Site::make(&[
            ("MODEL__PROVIDER", "offline"),
            ("EMBEDDINGS__PROVIDER", "openai_compatible"),
            ("EMBEDDINGS__BASE_URL", model),
            ("EMBEDDINGS__MODEL", &name),
        ])
        .await?;
        if !has_pgvector {
            site.run("DROP EXTENSION vector CASCADE").await?;
        }
        let address = site.serve(&[])?;
        let mut http = Connection::open(address).await?;
        let email = "owner@example.org";
        let owner = json!({"email": email, "display_name": "Owner", "password": PASSWORD});
        http.post("/v1/tenants", None, &json!({"slug": "reader", "name": "Reader", "owner": owner})).await?;
        let session = json!({"tenant": "reader", "email": email, "password": PASSWORD});
        let session: Value = serde_json::from_str(&http.post("/v1/sessions", None, &session).await?)?;
        let token = session["access_token"].as_str().context("no access token")?.to_owned();
        let library = json!({"name": "library", "description": "Random"});
        http.post("/v1/collections", Some(&token), &library).await?;
        say(&format!("putting {chunks} chunks of {dimensions} dimensions"))?;
        fill(&site, dimensions, chunks, &name).await?;
        if has_pgvector {
            let begun = Instant::now();
            site.migrate()?;
            say(&format!(
                "{:.1} s to fill in the vectors of {chunks} chunks",
                begun.elapsed().as_secs_f64()
            ))?;
        }
        site.run("VACUUM (ANALYZE) document_chunks").await?;
        Ok(Self { site, address, token })
    }

    fn request(&self, number: u64) -> String {
        let token = &self.token;
        format!(
            "GET /v1/collections/library/search?query=question+{number}&limit=5 HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        )
    }

    /// How many bytes a server reads from PostgreSQL for a search.
    async fn bytes(&mut self) -> anyhow::Result<u64> {
        let mut url = self.site.application.clone();
        let database = url.socket_addrs(|| Some(5432))?.first().copied().context("no address")?;
        let (proxy, read) = counted(database).await?;
        url.set_port(Some(proxy.port())).ok().context("no port")?;
        let address = self.site.serve(&[("DATABASE__URL", url.as_str())])?;
        let mut http = Connection::open(address).await?;
        // What is read once is not counted: the caller's rights, what is known of tables.
        http.get(&self.request(1)).await?;
        let before = read.load(Ordering::Relaxed);
        http.get(&self.request(2)).await?;
        Ok(read.load(Ordering::Relaxed) - before)
    }
}

/// Documents of random vectors, the same each time.
async fn fill(site: &Site, dimensions: u64, chunks: u64, model: &str) -> anyhow::Result<()> {
    let mut db = site.connect().await?;
    let tenant: Uuid = sqlx::query_scalar("SELECT id FROM tenants").fetch_one(&mut db).await?;
    let mut random = model::Random::new(1);
    for document in 1..=chunks.div_ceil(OF_A_DOCUMENT) {
        let vectors: Vec<Vec<u8>> = (0..OF_A_DOCUMENT.min(chunks - (document - 1) * OF_A_DOCUMENT))
            .map(|_| random.vector(dimensions).iter().flat_map(|part| part.to_le_bytes()).collect())
            .collect();
        let id = Uuid::from_u128(document.into());
        sqlx::query(
            "INSERT INTO documents SELECT $1, 'library', $2, 'Title', '', 'text/plain', sha256($2::text::bytea), 1, $3, 0, $4, 1, \
             $1, now()",
        )
        .bind(tenant)
        .bind(id)
        .bind(i64::try_from(vectors.len())?)
        .bind(model)
        .execute(&mut db)
        .await?;
        sqlx::query(
            "INSERT INTO document_chunks \
                 (tenant_id, collection, document_id, ordinal, begins, ends, headings, text, embedder, vector) \
             SELECT $1, 'library', $2, ordinal - 1, 0, 1080, '[]', repeat('lorem ipsum ', 90), $3, vector \
             FROM unnest($4) WITH ORDINALITY AS given (vector, ordinal)",
        )
        .bind(tenant)
        .bind(id)
        .bind(model)
        .bind(vectors)
        .execute(&mut db)
        .await?;
    }
    let counted =
        "UPDATE collections SET (documents, chunks) = (SELECT count(*), sum(chunks) FROM documents)";
    sqlx::query(counted).execute(&mut db).await?;
    Ok(())
}

async fn searches(libraries: &mut [Library], dimensions: u64, load: Load) -> anyhow::Result<()> {
    for number in 0..20 {
        let mut found = Vec::new();
        for library in &*libraries {
            found.push(citations(library, number).await?);
        }
        ensure!(found[0].len() == 5 && found[0] == found[1], "other chunks are found: {found:?}");
    }
    let mut rounds: Vec<Vec<Figures>> = Vec::new();
    // The first round fills caches and plans, and does not count.
    for round in 0..=load.rounds {
        let mut figures = Vec::new();
        for library in &*libraries {
            let mut workers = Vec::new();
            for worker in 0..load.connections {
                let requests = (0..64).map(|number| library.request(worker * 64 + number)).collect();
                workers.push(Searching { connection: Connection::open(library.address).await?, requests });
            }
            figures.push(measure(load.time, workers).await?);
        }
        if round > 0 {
            rounds.push(figures);
        }
    }
    let p50 = |which: usize| median(rounds.iter().map(|figures| figures[which].median_ms));
    let ratio = median(rounds.iter().map(|figures| figures[1].median_ms / figures[0].median_ms));
    let (by_server, by_postgres) = (libraries[0].bytes().await?, libraries[1].bytes().await?);
    println!(
        "| {dimensions} | {:.1} ms | {:.1} ms | {ratio:.2} | {by_server} bytes | {by_postgres} bytes |",
        p50(0),
        p50(1)
    );
    Ok(())
}

async fn citations(library: &Library, number: u64) -> anyhow::Result<Vec<String>> {
    let mut http = Connection::open(library.address).await?;
    let found: Value = serde_json::from_str(http.get(&library.request(number)).await?)?;
    let items = found["items"].as_array().context("no items")?;
    Ok(items.iter().map(|item| item["citation"].to_string()).collect())
}

struct Searching {
    connection: Connection,
    requests: Vec<String>,
}

impl Worker for Searching {
    async fn work(&mut self) -> anyhow::Result<()> {
        self.requests.rotate_left(1);
        self.connection.get(&self.requests[0]).await?;
        Ok(())
    }
}

/// What listens before the database and counts the bytes that come from it.
async fn counted(database: SocketAddr) -> anyhow::Result<(SocketAddr, Arc<AtomicU64>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let count = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(database).await else { return };
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let counting = Arc::clone(&counting);
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
                    counting.fetch_add(length as u64, Ordering::Relaxed);
                    if to_client.write_all(&bytes[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok((address, count))
}
