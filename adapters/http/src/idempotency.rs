//! `Idempotency-Key`: a request that changes something is carried out once, however often it is sent with the same key
//! (draft-ietf-httpapi-idempotency-key-header).

use bytes::Bytes;
use http::header::{HeaderName, IF_MATCH};
use http::{Method, StatusCode};
use powerhouse_domain::idempotency::{IdempotencyKey, MAX_KEY_CHARS, RequestHash};
use powerhouse_usecases::{Keeper, Keyed, Once, Refused};
use salvo::http::ReqBody;
use salvo::prelude::{Depot, FlowCtrl, Handler, Request, Response, async_trait};
use serde::Serialize;

use crate::body;
use crate::guard::principal;
use crate::problem::Problem;
use crate::reply::Reply;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says of an answer that it was given before.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Reads the key of a request, and what it asks for. Comes after the guard: a key belongs to whoever calls.
pub(crate) struct Keys(pub(crate) Keeper);

#[async_trait]
impl Handler for Keys {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        if req.method() == Method::POST
            && let Err(problem) = self.read(req, depot).await
        {
            problem.refuse(depot, res, ctrl);
            return;
        }
        ctrl.call_next(req, depot, res).await;
    }
}

impl Keys {
    async fn read(&self, req: &mut Request, depot: &mut Depot) -> Result<(), Problem> {
        let Some(key) = key(req)? else { return Ok(()) };
        let body = body::bytes(req).await?;
        let path = req.uri().path_and_query().map_or("", |path| path.as_str());
        let version = req.headers().get(IF_MATCH).map_or(&[][..], |version| version.as_bytes());
        let request = RequestHash::of(&[req.method().as_str().as_bytes(), path.as_bytes(), version, &body]);
        *req.body_mut() = ReqBody::Once(Bytes::from(body));
        let keyed = Keyed { keeper: self.0.clone(), principal: *principal(depot)?, key, request };
        depot.insert_typed(keyed);
        Ok(())
    }
}

fn key(req: &Request) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = req.headers().get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|_| values.next().is_none());
    key.map(Some).ok_or_else(|| {
        let detail = format!(
            "`Idempotency-Key` must have 1 to {MAX_KEY_CHARS} visible ASCII characters, and be sent once"
        );
        Problem::bad_request("idempotency_key_malformed", detail)
    })
}

/// The promise to carry a request out once if it has a key, and to answer it with `show`.
pub(crate) fn once<T, V: Serialize>(
    depot: &Depot,
    show: impl Fn(&T) -> Reply<V> + Send + Sync + 'static,
) -> Once<T> {
    match depot.get_typed::<Keyed>() {
        Ok(keyed) => Once::keyed(keyed.clone(), move |done| show(done).kept()),
        Err(_) => Once::unkeyed(),
    }
}

/// The answer to what was done now, or before with the same key.
pub(crate) fn answer<T, V>(
    done: Result<T, Refused>,
    show: impl FnOnce(&T) -> Reply<V>,
) -> Result<Reply<V>, Problem> {
    match done {
        Ok(done) => Ok(show(&done)),
        Err(Refused::DoneBefore(answer)) => Ok(Reply::replayed(*answer)),
        Err(refused) => Err(refused.into()),
    }
}

/// A key that was sent with something else before.
pub(crate) fn reused() -> Problem {
    let detail = "this `Idempotency-Key` was used for another request: send a new key with a new request";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
}
