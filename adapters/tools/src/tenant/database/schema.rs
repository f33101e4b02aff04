//! What is in a database: the tables and views that its user may read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use postgres::Client;

/// Columns of what can be read, in the order of schemas, tables and columns.
const COLUMNS: &str = "
SELECT n.nspname::text, c.relname::text, c.relkind::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       obj_description(c.oid, 'pg_class'), col_description(c.oid, a.attnum)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND has_column_privilege(c.oid, a.attnum, 'SELECT')
ORDER BY array_position($1, n.nspname::text), c.relname, a.attnum
LIMIT 5000";

/// Keys of the same, as PostgreSQL words them.
const KEYS: &str = "
SELECT n.nspname::text, c.relname::text, pg_get_constraintdef(k.oid)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY($1) AND k.contype IN ('p', 'f', 'u') AND NOT c.relispartition AND has_table_privilege(c.oid, 'SELECT')
ORDER BY k.contype DESC, k.conname
LIMIT 5000";

/// As statements that would make it, with comments; as much as fits in so many bytes.
pub(super) async fn described(
    client: &Client,
    schemas: &[String],
    most: usize,
) -> Result<String, postgres::Error> {
    let columns = client.query(COLUMNS, &[&schemas]).await?;
    let mut keys: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for key in client.query(KEYS, &[&schemas]).await? {
        keys.entry((key.get(0), key.get(1))).or_default().push(key.get(2));
    }
    let (mut tables, mut lines): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut rows = columns.iter().peekable();
    while let Some(column) = rows.next() {
        let name: (String, String) = (column.get(0), column.get(1));
        let not_null = if column.get(5) { " NOT NULL" } else { "" };
        let mut line = format!("  {} {}{not_null}", column.get::<_, &str>(3), column.get::<_, &str>(4));
        if let Some(comment) = column.get::<_, Option<&str>>(7) {
            let _ = write!(line, " -- {}", comment.replace('\n', " "));
        }
        lines.push(line);
        let is_last =
            rows.peek().is_none_or(|next| (next.get(0), next.get(1)) != (name.0.as_str(), name.1.as_str()));
        if is_last {
            lines.extend(keys.remove(&name).into_iter().flatten().map(|key| format!("  {key}")));
            let kind = match column.get(2) {
                "v" => "VIEW",
                "m" => "MATERIALIZED VIEW",
                "f" => "FOREIGN TABLE",
                _ => "TABLE",
            };
            let comment: Option<&str> = column.get(6);
            let comment = comment.map(|text| format!(" -- {}", text.replace('\n', " "))).unwrap_or_default();
            tables.push(format!("{kind} {}.{} ({comment}\n{}\n)", name.0, name.1, lines.join("\n")));
            lines.clear();
        }
    }
    if tables.is_empty() {
        return Ok(format!("There is nothing that may be read in: {}.", schemas.join(", ")));
    }
    let shown = tables.join("\n\n");
    if shown.len() <= most {
        return Ok(shown);
    }
    Ok(format!("{}\n[cut: the schema is longer]", &shown[..shown.floor_char_boundary(most)]))
}
