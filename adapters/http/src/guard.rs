//! Who calls, and whether they may call now: authentication first, then the rate limit of their tenant.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderValue};
use powerhouse_domain::access::Principal;
use powerhouse_ports::limits::{Admission, Bucket, Rate, RateLimiter};
use powerhouse_usecases::Refused;
use powerhouse_usecases::sessions::Authenticate;
use salvo::prelude::{Depot, FlowCtrl, Handler, Request, Response, async_trait};

use crate::problem::{Problem, too_many};

/// The longest `Authorization` that is looked at.
const MAX_AUTHORIZATION: usize = 8 * 1024;
const REMAINING: &str = "x-ratelimit-remaining";

/// Lets only verified principals through, within their tenant's plan.
pub(crate) struct Guard {
    pub(crate) authenticate: Authenticate,
    pub(crate) limiter: Arc<dyn RateLimiter>,
}

#[async_trait]
impl Handler for Guard {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        match self.admit(req, res).await {
            Ok(principal) => {
                depot.insert_typed(principal);
                ctrl.call_next(req, depot, res).await;
            }
            Err(problem) => problem.refuse(depot, res, ctrl),
        }
    }
}

impl Guard {
    async fn admit(&self, req: &Request, res: &mut Response) -> Result<Principal, Problem> {
        let standing = self.authenticate.execute(bearer(req)?).await?;
        let limits = standing.plan.limits();
        let rate = Rate { burst: limits.request_burst, per_minute: limits.requests_per_minute };
        let bucket = Bucket::Tenant(standing.principal.scope());
        check("tenant", self.limiter.admit(bucket, rate).await, res)?;
        Ok(standing.principal)
    }
}

fn bearer(req: &Request) -> Result<&str, Problem> {
    let mut values = req.headers().get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        let detail = "sign in, and send `Authorization: Bearer …` with the access token, once";
        return Err(Refused::Unauthenticated(detail).into());
    };
    let text = value.to_str().unwrap_or_default();
    let token =
        text.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer ")).map(|_| text[7..].trim());
    token.filter(|token| !token.is_empty() && text.len() <= MAX_AUTHORIZATION).ok_or_else(|| {
        Refused::Unauthenticated("`Authorization` must be `Bearer` and an access token").into()
    })
}

/// Lets so many through from an address, whoever it is.
pub(crate) struct Anonymous {
    pub(crate) limiter: Arc<dyn RateLimiter>,
    pub(crate) rate: Rate,
}

#[async_trait]
impl Handler for Anonymous {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        // A peer without an address, such as a Unix socket, is a proxy that limits by itself.
        let network = match req.remote_addr() {
            salvo::conn::SocketAddr::IPv4(address) => Some((*address.ip()).into()),
            salvo::conn::SocketAddr::IPv6(address) => Some(network(*address.ip())),
            _ => None,
        };
        if let Some(network) = network
            && let Err(problem) =
                check("address", self.limiter.admit(Bucket::Address(network), self.rate).await, res)
        {
            problem.refuse(depot, res, ctrl);
            return;
        }
        ctrl.call_next(req, depot, res).await;
    }
}

/// Whom an IPv6 address belongs to: one subscriber has all addresses of a /64 (RFC 6177).
fn network(address: Ipv6Addr) -> IpAddr {
    match address.to_ipv4_mapped() {
        Some(address) => address.into(),
        None => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

fn check(bucket: &'static str, admission: Admission, res: &mut Response) -> Result<(), Problem> {
    match admission {
        Admission::Admitted { remaining } => {
            decided(bucket, "admitted");
            res.headers_mut().insert(REMAINING, HeaderValue::from(remaining));
            Ok(())
        }
        Admission::Refused { retry_after } => {
            decided(bucket, "refused");
            Err(too_many(retry_after))
        }
    }
}

fn decided(bucket: &'static str, decision: &'static str) {
    metrics::counter!("powerhouse_rate_limit_decisions_total", "bucket" => bucket, "decision" => decision)
        .increment(1);
}

/// The principal behind a guarded request.
pub(crate) fn principal(depot: &Depot) -> Result<&Principal, Problem> {
    // INVARIANT: every route that asks is below the guard.
    depot.get_typed::<Principal>().map_err(|_| {
        tracing::error!("a route without a guard asked for its principal");
        Problem::internal()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_has_one_bucket_whatever_its_address() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2::9"), "2001:db8:1:2::");
        assert_ne!(of("2001:db8:1:3::9"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
