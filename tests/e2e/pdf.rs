//! PDF, read by the real binary in processes of its own: what real tools write, and what is made to break readers.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use powerhouse_documents::DocumentReader;
use powerhouse_domain::knowledge::{Extracted, MAX_CONTENT, MAX_PDF, MediaType};
use powerhouse_ports::documents::{ExtractFailed, TextExtractor as _};
use powerhouse_tests::pdf::{bomb, lines, page, pdf, stream};
use proptest::prelude::*;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::server::{Caller, Server};

const TYPST: &[u8] = include_bytes!("../fixtures/pdf/typst.pdf");
const REPORTLAB: &[u8] = include_bytes!("../fixtures/pdf/reportlab.pdf");
const ENCRYPTED: &[u8] = include_bytes!("../fixtures/pdf/encrypted.pdf");
const ENCRYPTED_FOR_OWNER: &[u8] = include_bytes!("../fixtures/pdf/encrypted-for-owner.pdf");

/// Longer than any document may take, whatever else the machine does.
const BOUND: Duration = Duration::from_secs(40);

fn reader() -> DocumentReader {
    DocumentReader::new(env!("CARGO_BIN_EXE_powerhouse"), ["read-pdf"])
}

async fn read(content: Vec<u8>) -> Result<Extracted, ExtractFailed> {
    assert!(content.len() <= MAX_PDF, "{} bytes are refused before", content.len());
    let started = Instant::now();
    let read = reader().extract(MediaType::Pdf, content).await;
    assert!(started.elapsed() < BOUND, "{:?}", started.elapsed());
    read
}

async fn text(content: Vec<u8>) -> String {
    read(content).await.unwrap().text
}

#[tokio::test]
async fn what_real_tools_write_is_read_with_its_title_headings_and_letters() {
    let typst = read(TYPST.to_vec()).await.unwrap();
    assert_eq!(typst.title.as_deref(), Some("The handbook"));
    let headings: Vec<_> =
        typst.headings.iter().map(|heading| (heading.level, heading.text.as_str())).collect();
    assert_eq!(headings, [(1, "Leave"), (2, "Parents"), (1, "Sickness")]);
    assert_eq!(
        typst.text,
        "Leave\n\nEverybody in the office has twenty days of leave; the\nfirst efficient affidavit is for Zoë and Łukasz, who work\n\
         in naïve cafés at 5 € a day.\n\nExtraordinarily internationalised organisations characteristically misunderstand \
         responsibilities.\n\nParents\n\nParental leave takes 26 weeks. Apply to the staff office\nbefore the fifth month.\n\n\
         Weeks Pay\n1–6 90 %\n7–26 £184\n\n1\n\nSickness\n\nTell your manager before ten o’clock. A doctor’s certificate \
         is wanted from the eighth day.\n\n2"
    );
    let reportlab = read(REPORTLAB.to_vec()).await.unwrap();
    assert_eq!(reportlab.title.as_deref(), Some("Reisekosten – Übersicht"));
    assert_eq!(
        reportlab.text,
        "Reisekosten\n\nFahrten werden mit 0,30 € je Kilometer vergütet.\nGrößere Beträge prüft die Buchhaltung.\n\
         Plain words in Helvetica, with “quotes” and a bullet • too.\nCity Rate\nKöln 95\nGenève 40"
    );
    // Some may change it; anybody may read it.
    assert_eq!(text(ENCRYPTED_FOR_OWNER.to_vec()).await, "The code is 4711.");
}

#[tokio::test]
async fn text_is_where_matrices_forms_and_marks_say() {
    let content = b"BT /F 11 Tf 50 700 Td [(Twen) -20 (ty) -300 (days)] TJ ET \
        /Span <</ActualText <FEFF00660069>>> BDC BT /F 11 Tf 50 600 Td (*) Tj ET EMC q 1 0 0 1 0 -100 cm /X5 Do Q";
    let shown = form("/Matrix [1 0 0 1 50 600]", &stream("", b"BT /F 11 Tf (in a form) Tj ET"));
    assert_eq!(text(page(stream("", content), vec![shown])).await, "Twenty days\n\nfi\n\nin a form");
    // A form that restores more states than it has saved takes none of its page's.
    let content = b"q 1 0 0 1 0 400 cm BT /F 11 Tf 50 200 Td (first) Tj ET /X5 Do Q BT /F 11 Tf 50 587 Td (second) Tj ET";
    let greedy = form("", &stream("", b"Q Q"));
    assert_eq!(text(page(stream("", content), vec![greedy])).await, "first\nsecond");
}

#[tokio::test]
async fn what_needs_a_password_and_what_has_no_text_is_told_apart() {
    assert!(matches!(read(ENCRYPTED.to_vec()).await, Err(ExtractFailed::Encrypted)));
    // A scan: a picture on a page.
    let picture =
        "/Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8";
    let scan = page(stream("", b"q 500 0 0 700 0 0 cm /X5 Do Q"), vec![stream(picture, b"x")]);
    assert!(matches!(read(scan).await, Err(ExtractFailed::Wordless)));
    assert!(matches!(read(lines(&["", "   "])).await, Err(ExtractFailed::Wordless)));
    for broken in [b"".to_vec(), b"%PDF-1.7".to_vec(), b"Dear all,".to_vec(), vec![0; 1000]] {
        assert!(matches!(read(broken).await, Err(ExtractFailed::Unreadable)));
    }
    let long = (0..20_000).map(|n| format!("({n} {}) ' ", "long ".repeat(12)));
    let long = format!("BT /F 11 Tf 14 TL {} ET", long.collect::<String>());
    assert!(long.len() > MAX_CONTENT);
    assert!(matches!(read(page(stream("", long.as_bytes()), Vec::new())).await, Err(ExtractFailed::TooLong)));
}

#[tokio::test]
async fn what_inflates_without_end_is_refused_in_bounded_memory() {
    for inflating in [
        page(bomb(2 * 1024 * 1024 * 1024), Vec::new()),
        // A form that is inflated when it is shown.
        page(stream("", b"/X5 Do"), vec![form("", &bomb(2 * 1024 * 1024 * 1024))]),
        // Few bytes, as often as one likes.
        pages(&format!("/Contents [{}]", "4 0 R ".repeat(3000)), bomb(1024 * 1024)),
        // Widths for four thousand million characters.
        widths("[0 4294967295 500]"),
    ] {
        let refused = read(inflating).await;
        // What came before the bound was no text, or nothing came at all.
        let is_refused = matches!(refused, Err(ExtractFailed::Unreadable | ExtractFailed::Wordless));
        assert!(is_refused, "{refused:?}");
    }
}

#[tokio::test]
async fn what_is_nested_cyclic_or_without_end_is_answered() {
    let deep = "[".repeat(1_000_000);
    let laughs = |content: &str| {
        let tenfold = |number: u32| form("", &stream("", format!("/X{number} Do ").repeat(10).as_bytes()));
        let mut forms: Vec<Vec<u8>> = (6..15).map(tenfold).collect();
        forms.push(form("", &stream("", content.as_bytes())));
        page(stream("", b"/X5 Do"), forms)
    };
    let kids = |kids: &str| {
        pdf(&[
            "<</Type /Catalog /Pages 2 0 R>>",
            &format!("<</Type /Pages /Count 2147483647 /Kids [{kids}]>>"),
        ])
    };
    for (name, bad) in [
        ("nested arrays", page(stream("", deep.as_bytes()), Vec::new())),
        ("a nested object", pdf(&["<</Type /Catalog /Pages 2 0 R>>", &deep])),
        ("nested dictionaries", pdf(&["<</Type /Catalog /Pages 2 0 R>>", &"<</Kids ".repeat(400_000)])),
        ("pages that have themselves", kids("2 0 R 2 0 R")),
        ("no pages", kids("")),
        ("pages that are a reference to itself", pdf(&["<</Type /Catalog /Pages 2 0 R>>", "2 0 R"])),
        ("states without end", page(stream("", "q ".repeat(1_500_000).as_bytes()), Vec::new())),
        (
            "a form that shows itself",
            page(stream("", b"/X5 Do"), vec![form("", &stream("", b"/X5 Do /X5 Do"))]),
        ),
        ("forms that show each other", laughs("")),
        (
            "a table that goes on in itself",
            {
                let file = String::from_utf8(lines(&["x"])).unwrap();
                let start = file.find("xref\n").unwrap();
                file[..start].to_owned()
                    + &format!("xref\n0 0\ntrailer\n<</Root 1 0 R /Prev {start}>>\nstartxref\n{start}\n%%EOF")
                        .replace("1 0 R", "99 0 R")
            }
            .into_bytes(),
        ),
        (
            "numbers that are none",
            page(
                stream("", b"BT /F 1e999 Tf 9999999999999999999999 0 0 NaN 0 -1e400 Tm (x) Tj ET"),
                Vec::new(),
            ),
        ),
    ] {
        let answer = read(bad).await;
        let is_answer = matches!(answer, Ok(_) | Err(ExtractFailed::Unreadable | ExtractFailed::Wordless));
        assert!(is_answer, "{name}: {answer:?}");
    }
    let refused = read(laughs("BT /F 11 Tf (ha ha ha ha ha ha) Tj ET")).await;
    assert!(matches!(refused, Err(ExtractFailed::TooLong | ExtractFailed::Unreadable)), "{refused:?}");
    // More pages than there are, and thousands that are one.
    let many = "<</Type /Page /Resources <</Font <</F 4 0 R>>>> /Contents 3 0 R>> ".repeat(5000);
    let font = b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>".to_vec();
    let tree = format!("<</Type /Pages /Count -1 /Kids [{many}]>>").into_bytes();
    let content = stream("", b"BT /F 11 Tf 50 780 Td (page) Tj ET");
    let many = pdf(&[b"<</Type /Catalog /Pages 2 0 R>>".to_vec(), tree, content, font]);
    assert_eq!(text(many).await.matches("page").count(), 5000);
}

fn form(entries: &str, stream: &[u8]) -> Vec<u8> {
    let dict = format!("<</Type /XObject /Subtype /Form /BBox [0 0 595 842] {entries} ");
    [dict.as_bytes(), &stream[2..]].concat()
}

/// A page with these entries, and an object 4 for them.
fn pages(entries: &str, object: Vec<u8>) -> Vec<u8> {
    let page = format!("<</Type /Page /Parent 2 0 R {entries}>>").into_bytes();
    let tree = b"<</Type /Pages /Count 1 /Kids [3 0 R]>>".to_vec();
    pdf(&[b"<</Type /Catalog /Pages 2 0 R>>".to_vec(), tree, page, object])
}

/// A page in a font with these widths.
fn widths(widths: &str) -> Vec<u8> {
    let descendant = format!(
        "<</Type /Font /Subtype /CIDFontType2 /BaseFont /A /CIDSystemInfo <</Registry (Adobe) /Ordering (Identity) /Supplement 0>> \
         /W {widths}>>"
    );
    let font = format!(
        "<</Type /Font /Subtype /Type0 /BaseFont /A /Encoding /Identity-H /DescendantFonts [{descendant}]>>"
    );
    let entries = format!("/Resources <</Font <</F {font}>>>> /Contents 4 0 R");
    pages(&entries, stream("", b"BT /F 11 Tf (ab) Tj ET"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes, the answer is a text or a refusal that says why.
    #[test]
    fn what_is_cut_changed_or_no_pdf_at_all_is_answered(
        which in 0..4_usize,
        end in 0.0..1.0_f64,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        junk in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut content = match which {
            0 => [b"%PDF-1.7\n", &junk[..]].concat(),
            1 => REPORTLAB.to_vec(),
            2 => TYPST.to_vec(),
            _ => lines(&["One line", "and another"]),
        };
        if which > 0 && junk.len() % 2 == 0 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a part of the length")]
            content.truncate((content.len() as f64 * end) as usize);
        }
        for (at, byte) in changes {
            if !content.is_empty() {
                let at = at.index(content.len());
                content[at] = byte;
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(read(content));
        let is_answer = !matches!(answer, Err(ExtractFailed::NoReader(_) | ExtractFailed::Busy));
        prop_assert!(is_answer, "{answer:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_bounds_itself_before_it_reads() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_powerhouse"));
    let mut child = command.arg("read-pdf").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let told = |who: &str, what: &str| std::fs::read_to_string(format!("/proc/{who}/{what}")).unwrap();
    let filters = |who: &str| -> u32 {
        let status = told(who, "status");
        let line = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
        line.unwrap().trim().parse().unwrap()
    };
    let (pid, started) = (child.id().to_string(), Instant::now());
    // What it does last.
    while filters(&pid) != filters("self") + 1 {
        assert!(started.elapsed() < BOUND, "{}", told(&pid, "status"));
    }
    let status = told(&pid, "status");
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "Threads:\t1"] {
        assert!(status.lines().any(|told| told == line), "{line}: {status}");
    }
    let limits = told(&pid, "limits");
    for (limit, most) in [
        ("Max address space", "536870912"),
        ("Max cpu time", "10"),
        ("Max open files", "0"),
        ("Max processes", "0"),
        ("Max file size", "0"),
        ("Max core file size", "0"),
    ] {
        assert!(has(&limits, limit, most), "{limit}: {limits}");
    }
    child.stdin.take().unwrap().write_all(&lines(&["Twenty days"])).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).unwrap(),
        json!({"Text": {"title": null, "parts": [{"level": null, "text": "Twenty days"}]}})
    );
}

/// Whether both the soft and the hard limit are this.
#[cfg(target_os = "linux")]
fn has(limits: &str, limit: &str, most: &str) -> bool {
    let line = limits.lines().find(|line| line.starts_with(limit)).unwrap_or_default();
    line[limit.len().min(line.len())..].split_whitespace().take(2).eq([most, most])
}

async fn put(caller: &Caller, content: &[u8]) -> (StatusCode, Value) {
    let body = json!({"media_type": "application/pdf", "source": "handbook.pdf", "content": STANDARD.encode(content)});
    let path = "/v1/collections/handbook/documents";
    let answer = caller.request(Method::POST, path).json(&body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pdf_is_put_found_and_cited_and_a_bad_one_leaves_the_server_as_it_was() {
    let server = Server::start();
    let ada = server.tenant("acme").await;
    ada.post("/v1/collections", &json!({"name": "handbook"})).await;
    let (status, document) = put(&ada, TYPST).await;
    assert_eq!(status, StatusCode::CREATED, "{document}");
    assert_eq!(
        (&document["title"], &document["media_type"]),
        (&json!("The handbook"), &json!("application/pdf"))
    );

    let found = ada.get("/v1/collections/handbook/search?query=How+long+is+parental+leave").await;
    let best = &found["items"][0];
    let passage = best["text"].as_str().unwrap();
    assert!(passage.contains("Parental leave takes 26 weeks."), "{found}");
    let whole =
        ada.get(&format!("/v1/collections/handbook/documents/{}", document["id"].as_str().unwrap())).await;
    let bound = |name: &str| usize::try_from(best[name].as_u64().unwrap()).unwrap();
    assert_eq!(whole["text"].as_str().unwrap().get(bound("start")..bound("end")), Some(passage));

    // While bombs go off, others are answered.
    let bomb = page(bomb(2 * 1024 * 1024 * 1024), Vec::new());
    let (first, second, meanwhile) =
        tokio::join!(put(&ada, &bomb), put(&ada, &bomb), ada.get("/v1/collections/handbook"));
    assert_eq!(meanwhile["documents"], 1);
    for (status, problem) in [first, second] {
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert_eq!(
            (&problem["code"], &problem["pointer"]),
            (&json!("document_unreadable"), &json!("/content"))
        );
    }
    for (content, code, said) in [
        (ENCRYPTED, "document_encrypted", "password"),
        (&lines(&[" "]), "document_without_text", "scan"),
        (b"%PDF-1.7", "document_unreadable", "broken"),
        (b" ", "invalid", "empty"),
    ] {
        let (status, problem) = put(&ada, content).await;
        assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(code)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    assert_eq!(put(&ada, &vec![b'x'; MAX_PDF + 1]).await.1["code"], "invalid");
    assert_eq!(put(&ada, TYPST).await.1["code"], "document_exists");
    assert_eq!(ada.get("/v1/collections/handbook").await["documents"], 1);
    let log = server.log();
    assert!(log.contains("a PDF could not be read") && !log.contains("panicked"), "{log}");
}
