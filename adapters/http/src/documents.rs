//! The API's own description: `/openapi.json`, and a page at `/docs` that reads it. Both work offline.

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use powerhouse_domain::idempotency::MAX_KEY_CHARS;
use salvo::Router;
use salvo::oapi::naming::{FlexNamer, set_namer};
use salvo::oapi::security::{Http, HttpAuthScheme};
use salvo::oapi::{
    BasicType, Contact, Info, License, Object, OpenApi, Parameter, ParameterIn, PathItemType, SecurityScheme,
};
use salvo::prelude::{Depot, FlowCtrl, Handler, Request, Response, async_trait};
use salvo_oapi::swagger_ui::SwaggerUi;

/// The page's own scripts and styles, and those that it writes into itself.
const PAGE_POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; frame-ancestors 'none'";

pub(crate) fn describe(router: &Router) -> OpenApi {
    set_namer(FlexNamer::new().short_mode(true));
    let info = Info::new("Powerhouse", env!("CARGO_PKG_VERSION"))
        .description(
            "Runs AI agents for many tenants. Sign up with `POST /v1/tenants`, sign in with `POST /v1/sessions`, and \
             send the access token as `Authorization: Bearer …`. Every error is a problem document (RFC 9457) with a \
             stable `code`; every answer names its request in `X-Correlation-ID`. Every POST of somebody who has signed in \
             takes an `Idempotency-Key`, so that it can be sent again when its answer was lost; signing up, signing in and \
             refreshing do not, since what they answer is never kept.",
        )
        .contact(Contact::new().name("Powerhouse"))
        .license(License::new("Apache-2.0"));
    let bearer = Http::new(HttpAuthScheme::Bearer).bearer_format("JWT");
    let document = OpenApi::with_info(info).add_security_scheme("bearer", SecurityScheme::Http(bearer));
    keyed(document.merge_router(router))
}

/// Every POST of somebody who has signed in takes a key.
fn keyed(mut document: OpenApi) -> OpenApi {
    let key = || {
        let text = Object::new().schema_type(BasicType::String).min_length(1).max_length(MAX_KEY_CHARS);
        Parameter::new("Idempotency-Key").location(ParameterIn::Header).required(false).schema(text).description(
            "1 to 255 visible ASCII characters of your choice: the request is carried out once, however often you \
             send it with this key, and answered the same, with `Idempotency-Replayed: true`, for a day unless the operator says otherwise.",
        )
    };
    for item in document.paths.values_mut() {
        if let Some(operation) = item.operations.get_mut(&PathItemType::Post)
            && operation.securities.is_some()
        {
            operation.parameters.insert(key());
        }
    }
    document
}

pub(crate) fn routes(document: &OpenApi) -> Router {
    let page = SwaggerUi::new("/openapi.json").title("Powerhouse API");
    Router::new()
        .push(Router::with_path("openapi.json").get(Document(document.to_json().unwrap_or_default().into())))
        .push(Router::with_path("docs").hoop(PagePolicy).push(page.into_router("/")))
}

struct Document(Bytes);

#[async_trait]
impl Handler for Document {
    async fn handle(&self, _: &mut Request, _: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        res.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        res.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        res.body(self.0.clone());
    }
}

struct PagePolicy;

#[async_trait]
impl Handler for PagePolicy {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        res.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        ctrl.call_next(req, depot, res).await;
    }
}
