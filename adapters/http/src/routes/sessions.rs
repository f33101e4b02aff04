//! Signing in and out.

use powerhouse_ports::crypto::Password;
use powerhouse_usecases::sessions::{Refresh, SignIn, SignInCommand, SignOut, Tokens};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};

use crate::body::json;
use crate::guard::principal;
use crate::problem::Problem;
use crate::reply::{NoContent, Reply, instant};

/// What the slice uses.
#[derive(Clone)]
pub struct Sessions {
    /// Signs in.
    pub sign_in: SignIn,
    /// Refreshes.
    pub refresh: Refresh,
    /// Signs out.
    pub sign_out: SignOut,
}

impl Sessions {
    pub(crate) fn open(&self) -> Router {
        Router::with_path("sessions")
            .post(CreateSession(self.sign_in.clone()))
            .push(Router::with_path("refresh").post(RefreshSession(self.refresh.clone())))
    }

    pub(crate) fn guarded(&self) -> Router {
        Router::with_path("sessions/current").delete(DeleteSession(self.sign_out.clone()))
    }
}

/// Who signs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSession {
    /// The tenant's slug.
    #[salvo(schema(example = "acme"))]
    tenant: String,
    /// The address.
    #[salvo(schema(example = "ada@example.org"))]
    email: String,
    /// The password.
    #[salvo(schema(example = "correct horse battery"))]
    password: String,
}

/// A refresh token, to be traded for the next pair.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefreshRequest {
    /// The newest refresh token.
    refresh_token: String,
}

/// What to send with requests, and what to get the next ones with.
#[derive(Serialize, ToSchema)]
struct SessionTokens {
    /// Send it as `Authorization: Bearer …`.
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// When the access token stops working.
    expires_at: String,
    /// Serves once, at `POST /v1/sessions/refresh`.
    refresh_token: String,
}

impl From<Tokens> for SessionTokens {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access.text.to_string(),
            token_type: "Bearer",
            expires_at: instant(tokens.access.expires_at),
            refresh_token: tokens.refresh.0.to_string(),
        }
    }
}

struct CreateSession(SignIn);

/// Sign in
#[endpoint(operation_id = "create_session", tags("sessions"), request_body = NewSession,
    responses((status_code = 201, description = "Signed in.", body = SessionTokens)))]
impl CreateSession {
    async fn handle(&self, req: &mut Request) -> Result<Reply<SessionTokens>, Problem> {
        let NewSession { tenant, email, password } = json(req).await?;
        // What cannot be a slug or an address is answered like one that nobody has.
        let command = SignInCommand {
            tenant: tenant.parse().ok(),
            email: email.parse().ok(),
            password: Password::new(password),
        };
        let tokens = self.0.execute(command).await?;
        Ok(Reply::created("/v1/me".into(), tokens.into()))
    }
}

struct RefreshSession(Refresh);

/// Trade a refresh token for the next pair
#[endpoint(operation_id = "refresh_session", tags("sessions"), request_body = RefreshRequest,
    responses((status_code = 200, description = "The next pair.", body = SessionTokens)))]
impl RefreshSession {
    async fn handle(&self, req: &mut Request) -> Result<Reply<SessionTokens>, Problem> {
        let RefreshRequest { refresh_token } = json(req).await?;
        Ok(Reply::ok(self.0.execute(&refresh_token).await?.into()))
    }
}

struct DeleteSession(SignOut);

/// Sign out: every token of this session stops working
#[endpoint(operation_id = "delete_session", tags("sessions"), security(["bearer" = []]))]
impl DeleteSession {
    async fn handle(&self, depot: &mut Depot) -> Result<NoContent, Problem> {
        self.0.execute(principal(depot)?).await?;
        Ok(NoContent)
    }
}
