//! Who changed what: pages of the trail, and the trail as a whole to be checked elsewhere.

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use powerhouse_domain::audit::Actor;
use powerhouse_domain::ids::parse_typeid;
use powerhouse_ports::store::AuditFilter;
use powerhouse_usecases::audit::{AuditExport, ExportAudit, ListAudit};
use salvo::Router;
use salvo::oapi::{Components, EndpointOutRegister, Operation, endpoint};
use salvo::prelude::{Depot, Json, Request, Response, Writer, async_trait};

use crate::body::{asks_for, field, invalid, optional_instant, page};
use crate::cursor;
use crate::guard::principal;
use crate::problem::Problem;

mod views;

pub use views::AuditRecordView;
use views::{AuditPageView, HeadView};

/// What the slice uses.
#[derive(Clone)]
pub struct Audit {
    /// Lists.
    pub list: ListAudit,
    /// Exports.
    pub export: ExportAudit,
}

impl Audit {
    pub(crate) fn guarded(&self) -> Router {
        Router::with_path("audit").get(GetAudit(self.clone()))
    }
}

/// The trail in the form that was asked for.
enum AuditReply {
    Page(AuditPageView),
    Export(AuditExport),
}

#[async_trait]
impl Writer for AuditReply {
    async fn write(self, _: &mut Request, _: &mut Depot, res: &mut Response) {
        let headers = res.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        match self {
            Self::Page(page) => res.render(Json(page)),
            Self::Export(export) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
                let name = HeaderValue::from_static("attachment; filename=\"audit.ndjson\"");
                headers.insert(CONTENT_DISPOSITION, name);
                res.stream(lines(export));
            }
        }
    }
}

impl EndpointOutRegister for AuditReply {
    fn register(_: &mut Components, _: &mut Operation) {
        // The endpoint documents its own statuses.
    }
}

/// A line for each record. A failure breaks the connection off: what has come by then is not taken for the whole.
fn lines(export: AuditExport) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    let batches = stream::unfold(Some(export), |export| async move {
        let mut export = export?;
        match export.next().await {
            Ok(records) if records.is_empty() => None,
            Ok(records) => {
                let lines = records.iter().map(|record| AuditRecordView::from(record).line() + "\n");
                Some((Ok(Bytes::from(lines.collect::<String>())), Some(export)))
            }
            Err(refused) => {
                tracing::warn!(error = %refused, "an export of the audit trail broke off");
                Some((Err(std::io::Error::other("the export broke off")), None))
            }
        }
    });
    batches.boxed()
}

fn filter(req: &Request) -> Result<AuditFilter, Problem> {
    let text = |name| req.queries().get(name).map(String::as_str);
    if let Some(actor) = text("actor")
        && Actor::named(actor, None).is_err()
    {
        return Err(invalid("/actor", "must be `user_…`, or `platform`"));
    }
    if let Some(resource) = text("resource")
        && parse_typeid(resource).is_err()
    {
        return Err(invalid("/resource", "must be an id, such as `agent_…`"));
    }
    Ok(AuditFilter {
        from: optional_instant("/from", text("from"))?,
        until: optional_instant("/until", text("until"))?,
        actor: text("actor").map(str::to_owned),
        action: text("action").map(|action| field("/action", action)).transpose()?,
        resource: text("resource").map(str::to_owned),
    })
}

struct GetAudit(Audit);

/// Who changed what, the newest first
///
/// Every change that somebody asked for leaves a record, in the transaction of the change. Records are numbered and chained
/// by their hashes. With `Accept: application/x-ndjson` every record of the times from `from` until `until` is given, the
/// oldest first, one a line; `powerhouse audit verify` checks such a file without the server.
#[endpoint(operation_id = "list_audit", tags("audit"), security(["bearer" = []]),
    parameters(("from" = Option<String>, Query, description = "Not before this time (RFC 3339)"),
               ("until" = Option<String>, Query, description = "Before this time (RFC 3339)"),
               ("actor" = Option<String>, Query, description = "By this user, `user_…`, or by the `platform` itself"),
               ("action" = Option<String>, Query, description = "What was done, such as `agent.published`"),
               ("resource" = Option<String>, Query, description = "The id of what it was done to"),
               ("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page, and the head of the trail.", body = AuditPageView)))]
impl GetAudit {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<AuditReply, Problem> {
        let (caller, filter) = (principal(depot)?, filter(req)?);
        if asks_for(req.headers(), "application/x-ndjson") {
            return Ok(AuditReply::Export(self.0.export.execute(caller, filter).await?));
        }
        let (before, limit) = page(req)?;
        let found = self.0.list.execute(caller, &filter, before, limit).await?;
        Ok(AuditReply::Page(AuditPageView {
            items: found.page.items.iter().map(AuditRecordView::from).collect(),
            next_cursor: found.page.next.as_ref().map(cursor::encode),
            head: found.head.map(HeadView::from),
        }))
    }
}
