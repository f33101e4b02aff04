//! A database as the command line names it: `NAME=postgres://USER@HOST/DATABASE?schemas=A,B&tls=off`.

use anyhow::{Context as _, bail, ensure};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

/// Where its password is.
const PASSWORD: &str = "POWERHOUSE_DATABASE_PASSWORD";
const FORM: &str = "--database is NAME=postgres://USER@HOST/DATABASE";

/// What `POST /v1/databases` is sent, but for the password.
#[derive(Debug, PartialEq)]
pub(super) struct NamedDatabase {
    pub(super) name: String,
    pub(super) declaration: Value,
}

impl NamedDatabase {
    /// Reads the argument. It is in no error: it may hold a password all the same.
    pub(super) fn read(argument: &str) -> anyhow::Result<Self> {
        let (name, url) = argument.split_once('=').context(FORM)?;
        let url: Url = url.parse().ok().context(FORM)?;
        ensure!(
            url.password().is_none(),
            "a password in --database can be seen by others on this machine: leave it out, and set {PASSWORD}"
        );
        ensure!(matches!(url.scheme(), "postgres" | "postgresql"), FORM);
        let host = url.host_str().filter(|host| !host.is_empty()).context(FORM)?;
        let (user, database) = (decoded(url.username())?, decoded(url.path().trim_start_matches('/'))?);
        ensure!(!user.is_empty() && !database.is_empty(), FORM);
        let mut declaration = json!({"host": host, "database": database, "user": user});
        if let Some(port) = url.port() {
            declaration["port"] = json!(port);
        }
        for (key, value) in url.query_pairs() {
            declaration[&*key] = match &*key {
                "schemas" => json!(value.split(',').collect::<Vec<_>>()),
                "tls" => json!(value),
                _ => bail!("`{key}` is not understood in --database: `schemas` and `tls` are"),
            };
        }
        Ok(Self { name: name.to_owned(), declaration })
    }

    /// The password that the environment has for it.
    pub(super) fn password() -> Option<Zeroizing<String>> {
        std::env::var(PASSWORD).ok().map(Zeroizing::new)
    }
}

fn decoded(part: &str) -> anyhow::Result<String> {
    Ok(percent_decode_str(part).decode_utf8().ok().context(FORM)?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_what_is_declared() {
        let read = |argument| NamedDatabase::read(argument).unwrap();
        let short = read("shop=postgres://reader@db.example.org/sales");
        assert_eq!(short.name, "shop");
        assert_eq!(
            short.declaration,
            json!({"host": "db.example.org", "database": "sales", "user": "reader"})
        );
        let long = read("shop=postgresql://the%20reader@127.0.0.1:5433/a%2Fb?schemas=a,b&tls=off");
        assert_eq!(
            long.declaration,
            json!({"host": "127.0.0.1", "port": 5433, "database": "a/b", "user": "the reader", "schemas": ["a", "b"],
                "tls": "off"})
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_the_url() {
        for (argument, said) in [
            ("postgres://reader@host/sales", FORM),
            ("shop=host/canary", FORM),
            ("shop=mysql://canary@host/sales", FORM),
            ("shop=postgres://host/canary", FORM),
            ("shop=postgres://canary@host", FORM),
            ("shop=postgres://canary@/sales", FORM),
            ("shop=postgres://reader:canary@host/sales", PASSWORD),
            ("shop=postgres://reader@host/canary?sslmode=disable", "`sslmode` is not understood"),
        ] {
            let error = NamedDatabase::read(argument).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("canary"), "{argument}: {error}");
        }
    }
}
