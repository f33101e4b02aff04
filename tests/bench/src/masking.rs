//! How long masking takes: of a prompt, and of a line of the log.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

use std::hint::black_box;
use std::time::Instant;

use powerhouse_domain::masking::{Classes, Veil, mask};
use powerhouse_domain::model::{Message, ModelRequest};

use crate::measured::median;

const PROSE: &str = "The quarterly report says that 4,711 parcels left the warehouse in March, 12.5 % more than in the year before; \
                     most of them were sent to the south (see chapter 3.2). ";
const DATA: &str = "Write to ada.lovelace@example.org or call +44 20 7946 0958; the card is 4000 0566 5566 5556, the server \
                    203.0.113.7, and the password: correct-horse-battery. ";
const LINE: &str = r#"{"timestamp":"2026-01-31T12:00:00.123456Z","level":"INFO","fields":{"message":"finished","status":200,"latency_ms":12},"target":"powerhouse_http::layers","span":{"method":"GET","path":"/v1/runs/run_01h455vb4pex5vsknk084sn02q","peer":"203.0.113.7","correlation_id":"01h455vb4pex5vsknk084sn02q","name":"http.request"}}"#;

/// Prints how long each takes, over so many rounds.
pub(crate) fn bench(kilobytes: usize, rounds: usize) {
    let text = |parts: &[&str]| parts.concat().repeat(kilobytes * 1_000 / parts.concat().len() + 1);
    let clean = text(&[PROSE]);
    // One in seven sentences has personal data in it.
    let dense = text(&[PROSE, PROSE, PROSE, PROSE, PROSE, PROSE, DATA]);
    println!("{:<40} {:>10} {:>10} {:>10}", "", "bytes", "µs", "µs/kB");
    for (name, text) in
        [("prose", clean.as_str()), ("prose with personal data", &dense), ("a line of the log", LINE)]
    {
        report(name, text.len(), rounds, || drop(black_box(mask(black_box(text), Classes::ALL))));
    }
    let request = ModelRequest::answer("answer", vec![Message::user(dense.as_str())]);
    report("a prompt, with numbered placeholders", dense.len(), rounds, || {
        drop(black_box(Veil::over(black_box(&request), Classes::ALL)));
    });
}

fn report(name: &str, bytes: usize, rounds: usize, mut work: impl FnMut()) {
    let took = (0..rounds).map(|_| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64() * 1e6
    });
    let median = median(took);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let kilobytes = bytes as f64 / 1_000.0;
    println!("{name:<40} {bytes:>10} {median:>10.1} {:>10.2}", median / kilobytes);
}
