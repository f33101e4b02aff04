//! `powerhouse audit verify`: whether an export is whole, without a server.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context as _, bail};
use powerhouse_domain::audit::{Verified, Verifier};
use powerhouse_http::AuditRecordView;

use crate::cli::{VerifyArguments, say};

/// Checks an export, and says where it ends.
pub(crate) fn verify(arguments: &VerifyArguments) -> anyhow::Result<()> {
    let VerifyArguments { file, head } = arguments;
    let mut verifier = Verifier::default();
    let mut leads_there = false;
    for (index, line) in open(file)?.split(b'\n').enumerate() {
        let number = index + 1;
        let line = line.with_context(|| format!("line {number} of {} cannot be read", file.display()))?;
        let Some(record) = std::str::from_utf8(&line).ok().and_then(AuditRecordView::read) else {
            bail!("line {number} is no audit record, or was changed: the trail is broken");
        };
        verifier.add(&record).with_context(|| format!("line {number}: the trail is broken"))?;
        leads_there |= head.is_none_or(|head| [record.hash, record.previous].contains(&head));
    }
    let Some(Verified { tenant, first, anchor, head: end }) = verifier.verified() else {
        bail!("{} has no audit record", file.display());
    };
    if !leads_there {
        bail!(
            "the records fit together, but do not lead to the head that you know: what came last was cut off, the head is \
             older than the first record, or this is another trail"
        );
    }
    say(format!("Records {first} to {} of {tenant} are whole.", end.seq));
    if first > 1 {
        say(format!("They follow record {}, which is not among them and has the hash {anchor}.", first - 1));
    }
    say(format!("head {}", end.hash));
    Ok(())
}

fn open(file: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let opened = File::open(file).with_context(|| format!("{} cannot be opened", file.display()))?;
    Ok(Box::new(BufReader::new(opened)))
}
