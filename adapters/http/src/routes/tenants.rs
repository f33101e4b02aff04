//! Signing up, and one's own tenant.

use powerhouse_domain::tenants::{Tenant, TenantStatus};
use powerhouse_usecases::tenants::{ReadTenant, SignUp, SignUpCommand};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};

use super::users::UserView;
use crate::body::{field, json};
use crate::guard::principal;
use crate::problem::Problem;
use crate::reply::{Reply, instant};

/// What the slice uses.
#[derive(Clone)]
pub struct Tenants {
    /// Signs tenants up.
    pub sign_up: SignUp,
    /// Reads one's own.
    pub read: ReadTenant,
}

impl Tenants {
    pub(crate) fn open(&self) -> Router {
        Router::with_path("tenants").post(CreateTenant(self.sign_up.clone()))
    }

    pub(crate) fn guarded(&self) -> Router {
        Router::with_path("tenant").get(GetTenant(self.read.clone()))
    }
}

/// Who signs up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTenant {
    /// The tenant's name in addresses: 3 to 40 lower-case letters, digits and single hyphens.
    #[salvo(schema(example = "acme"))]
    slug: String,
    /// The tenant's name.
    #[salvo(schema(example = "Acme Ltd"))]
    name: String,
    /// Its first user, who owns it.
    owner: NewOwner,
}

/// The first user of a tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOwner {
    /// The address to sign in with.
    #[salvo(schema(example = "ada@example.org"))]
    email: String,
    /// The name to show.
    #[salvo(schema(example = "Ada"))]
    display_name: String,
    /// 12 to 128 characters.
    #[salvo(schema(example = "correct horse battery"))]
    password: String,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Tenant"))]
pub(crate) struct TenantView {
    id: String,
    slug: String,
    name: String,
    /// `free`, `team` or `enterprise`.
    plan: &'static str,
    /// `active`, `suspended` or `closed`.
    status: &'static str,
    created_at: String,
}

impl From<&Tenant> for TenantView {
    fn from(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id().to_string(),
            slug: tenant.slug().to_string(),
            name: tenant.name().to_string(),
            plan: tenant.plan().as_str(),
            status: match tenant.status() {
                TenantStatus::Active => "active",
                TenantStatus::Suspended { .. } => "suspended",
                TenantStatus::Closed { .. } => "closed",
            },
            created_at: instant(tenant.created_at()),
        }
    }
}

/// A tenant that has just signed up, with its owner.
#[derive(Debug, Serialize, ToSchema)]
struct NewTenantView {
    tenant: TenantView,
    owner: UserView,
}

struct CreateTenant(SignUp);

/// Sign up: a tenant with its owner and a few agents to start with
#[endpoint(operation_id = "create_tenant", tags("tenants"), request_body = NewTenant,
    responses((status_code = 201, description = "It has signed up.", body = NewTenantView)))]
impl CreateTenant {
    async fn handle(&self, req: &mut Request) -> Result<Reply<NewTenantView>, Problem> {
        let NewTenant { slug, name, owner } = json(req).await?;
        let command = SignUpCommand {
            slug: field("/slug", &slug)?,
            name: field("/name", &name)?,
            email: field("/owner/email", &owner.email)?,
            display_name: field("/owner/display_name", &owner.display_name)?,
            password: owner.password,
        };
        let signed_up = self.0.execute(command).await?;
        let owner = UserView::new(&signed_up.owner, &signed_up.membership);
        Ok(Reply::created("/v1/tenant".into(), NewTenantView { tenant: (&signed_up.tenant).into(), owner }))
    }
}

struct GetTenant(ReadTenant);

/// One's own tenant
#[endpoint(operation_id = "get_tenant", tags("tenants"), security(["bearer" = []]),
    responses((status_code = 200, description = "The tenant.", body = TenantView)))]
impl GetTenant {
    async fn handle(&self, depot: &mut Depot) -> Result<Reply<TenantView>, Problem> {
        let tenant = self.0.execute(principal(depot)?).await?;
        Ok(Reply::ok(TenantView::from(&tenant)).version(tenant.version()))
    }
}
