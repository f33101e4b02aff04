//! The server's side: starts the process, feeds it, waits for it as long as it may take, and ends it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use powerhouse_domain::knowledge::{Extracted, MAX_CONTENT};
use powerhouse_ports::documents::ExtractFailed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Answer;
use crate::text::Text;

/// How many documents are read at the same time.
const AT_A_TIME: usize = 2;
/// How long a document waits for others.
const WAIT: Duration = Duration::from_secs(20);
/// How long a document may take. The process's own bound on processor time is shorter, unless the machine is busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes of an answer: the most text, in parts of a letter each, of which JSON says more than they have.
const MAX_ANSWER: u64 = 10 * MAX_CONTENT as u64;

/// Reads documents by a program, each in a process of its own.
#[derive(Debug)]
pub(crate) struct Apart {
    program: PathBuf,
    arguments: Vec<OsString>,
    places: Semaphore,
}

impl Apart {
    pub(crate) fn new(program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { program, arguments, places: Semaphore::new(AT_A_TIME) }
    }

    pub(crate) async fn read(&self, content: Vec<u8>) -> Result<Extracted, ExtractFailed> {
        let Ok(Ok(_place)) = timeout(WAIT, self.places.acquire()).await else {
            return Err(ExtractFailed::Busy);
        };
        let mut child = self.start().map_err(ExtractFailed::NoReader)?;
        let answered = timeout(PATIENCE, answer(&mut child, &content)).await;
        // Nothing, when it has ended. Dropped, it is ended too.
        let _ = child.kill().await;
        match answered {
            Ok(Ok((status, said))) => extracted(status, &said),
            Ok(Err(error)) => Err(ExtractFailed::NoReader(error)),
            Err(_) => {
                tracing::warn!("a PDF took too long to read");
                Err(ExtractFailed::Unreadable)
            }
        }
    }

    /// The process has nothing of ours: no environment, no files, no folder. What it complains of may quote the document.
    fn start(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // What ends the server at a terminal lets it finish first what was asked for.
        #[cfg(unix)]
        command.process_group(0);
        command.spawn()
    }
}

/// How the process ended, and what it said until then, at most a byte more than an answer may have.
async fn answer(child: &mut Child, content: &[u8]) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let feed = async {
        // One that has ended reads no more; how it ended says why.
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(content).await;
            let _ = stdin.shutdown().await;
        }
    };
    let listen = async {
        let mut said = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(MAX_ANSWER + 1).read_to_end(&mut said).await?;
        }
        Ok::<_, std::io::Error>(said)
    };
    let ((), said) = tokio::join!(feed, listen);
    let said = said?;
    if said.len() as u64 > MAX_ANSWER {
        child.start_kill()?;
    }
    Ok((child.wait().await?, said))
}

fn extracted(status: ExitStatus, said: &[u8]) -> Result<Extracted, ExtractFailed> {
    let answer: Option<Answer> = if status.success() { serde_json::from_slice(said).ok() } else { None };
    let Some(answer) = answer else {
        // A signal, or a panic: its own words would quote the document.
        tracing::warn!(%status, said = said.len(), "a PDF could not be read: its process failed");
        return Err(ExtractFailed::Unreadable);
    };
    let (title, parts) = match answer {
        Answer::Text { title, parts } => (title, parts),
        Answer::Encrypted => return Err(ExtractFailed::Encrypted),
        Answer::Wordless => return Err(ExtractFailed::Wordless),
        Answer::TooLong => return Err(ExtractFailed::TooLong),
        Answer::Broken => return Err(ExtractFailed::Unreadable),
    };
    let mut text = Text::default();
    text.title(title.as_deref().unwrap_or_default());
    for part in parts {
        if let Some(level) = part.level {
            text.begin_heading(level.clamp(1, 6));
            text.words(&part.text);
            text.end_heading();
        } else {
            text.paragraph();
            text.verbatim(&part.text);
            text.paragraph();
        }
    }
    let extracted = text.finish();
    // It ran on what somebody sent: its word is not taken for it.
    if extracted.text.len() > MAX_CONTENT {
        return Err(ExtractFailed::TooLong);
    }
    if extracted.text.contains('\0') {
        return Err(ExtractFailed::Unreadable);
    }
    Ok(extracted)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A shell in the place of the program.
    fn shell(script: &str) -> Apart {
        Apart::new("/bin/sh".into(), vec!["-c".into(), script.into()])
    }

    async fn read(script: &str, content: &[u8]) -> Result<Extracted, ExtractFailed> {
        shell(script).read(content.to_vec()).await
    }

    #[tokio::test]
    async fn what_the_process_says_is_text_with_headings_and_paragraphs() {
        let said = r#"{"Text": {"title": " The \n handbook ", "parts": [{"level": 2, "text": "Leave"},
            {"level": null, "text": "Twenty days\nand more. "}, {"level": null, "text": "Next page"}]}}"#;
        let extracted = read(&format!("cat >/dev/null; cat <<'END'\n{said}\nEND"), b"x").await.unwrap();
        assert_eq!(extracted.title.as_deref(), Some("The handbook"));
        assert_eq!(extracted.text, "Leave\n\nTwenty days\nand more.\n\nNext page");
        let heading = &extracted.headings[0];
        assert_eq!((heading.at, heading.level, heading.text.as_str()), (0, 2, "Leave"));
    }

    #[tokio::test]
    async fn each_refusal_is_told_apart() {
        let refused =
            async |said: &str| read(&format!("cat >/dev/null; echo '{said}'"), b"x").await.unwrap_err();
        assert!(matches!(refused("\"Encrypted\"").await, ExtractFailed::Encrypted));
        assert!(matches!(refused("\"Wordless\"").await, ExtractFailed::Wordless));
        assert!(matches!(refused("\"TooLong\"").await, ExtractFailed::TooLong));
        assert!(matches!(refused("\"Broken\"").await, ExtractFailed::Unreadable));
        let missing = Apart::new("/nowhere/powerhouse".into(), Vec::new()).read(Vec::new()).await;
        assert!(matches!(missing, Err(ExtractFailed::NoReader(_))));
    }

    #[tokio::test]
    async fn a_process_that_crashes_fails_floods_or_talks_nonsense_is_a_refusal() {
        // One that reads nothing is fed more than a pipe holds.
        let much = vec![b'x'; 1024 * 1024];
        for script in [
            "kill -SEGV $$",
            "kill -ABRT $$",
            "cat >/dev/null; echo '\"Wordless\"'; exit 101",
            "exec cat /dev/zero",
            "exec yes",
            "echo '{\"Text\"",
            "printf '{\"Text\": {\"title\": null, \"parts\": [{\"level\": null, \"text\": \"a\\\\u0000b\"}]}}'",
            "printf '\\377'",
            "",
        ] {
            let refused = read(script, &much).await;
            assert!(matches!(refused, Err(ExtractFailed::Unreadable)), "{script}: {refused:?}");
        }
    }

    #[tokio::test]
    async fn the_process_has_no_environment_and_no_descriptors_of_ours() {
        // What a server has. Pipes and files may come from whoever runs the test.
        let _listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(std::env::vars_os().count() > 2, "there is something to inherit");
        let script = r#"cat >/dev/null; pwd=$(pwd); names=$(env | grep -v '^PWD=\|^SHLVL=\|^_=\|^OLDPWD=' | wc -l)
            printf '{"Text": {"title": null, "parts": [{"level": null, "text": "%s %s %s"}]}}' \
                "$pwd" $names $(ls -l /proc/$$/fd | grep -c socket)"#;
        assert_eq!(read(script, b"x").await.unwrap().text, "/ 0 0");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_too_long_is_ended_and_who_waits_too_long_is_told() {
        // Time that nobody uses passes at once.
        let refused = read("exec sleep 1000", b"x").await;
        assert!(matches!(refused, Err(ExtractFailed::Unreadable)), "{refused:?}");
        let apart = Arc::new(shell("exec sleep 1000"));
        let place = || {
            let apart = Arc::clone(&apart);
            tokio::spawn(async move { apart.read(b"x".to_vec()).await })
        };
        let (one, two) = (place(), place());
        tokio::task::yield_now().await;
        let refused = apart.read(b"x".to_vec()).await;
        assert!(matches!(refused, Err(ExtractFailed::Busy)), "{refused:?}");
        for ended in [one.await, two.await] {
            assert!(matches!(ended.unwrap(), Err(ExtractFailed::Unreadable)));
        }
        assert_eq!(apart.places.available_permits(), AT_A_TIME);
    }

    #[tokio::test]
    async fn a_process_whose_caller_has_gone_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let apart = shell(&format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", file.display()));
        let gone = async {
            while !file.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = apart.read(b"x".to_vec()) => panic!("it sleeps"),
            () = gone => {}
        }
        let pid = std::fs::read_to_string(&file).unwrap();
        // A process that has ended is there until somebody takes note of it, and sleeps no more.
        let state = || std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
        while state().contains("sleep") && !state().contains("(zombie)") {
            tokio::task::yield_now().await;
        }
    }
}
