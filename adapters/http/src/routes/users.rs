//! Members.

use powerhouse_domain::users::{Membership, User, UserStatus};
use powerhouse_usecases::tenants::ReadTenant;
use powerhouse_usecases::users::{
    AddUser, AddUserCommand, ChangeUser, ChangeUserCommand, ListUsers, Member, ReadUser, RemoveUser,
};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::{Deserialize, Serialize};

use super::tenants::TenantView;
use crate::body::{field, id, if_match, json, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{answer, once};
use crate::problem::Problem;
use crate::reply::{NoContent, Reply, instant};

/// What the slice uses.
#[derive(Clone)]
pub struct Users {
    /// Lists.
    pub list: ListUsers,
    /// Reads.
    pub read: ReadUser,
    /// Adds.
    pub add: AddUser,
    /// Changes.
    pub change: ChangeUser,
    /// Removes.
    pub remove: RemoveUser,
    /// Reads one's own tenant.
    pub tenant: ReadTenant,
}

impl Users {
    pub(crate) fn guarded(&self) -> Router {
        let one = Router::with_path("{user_id}")
            .get(GetUser(self.read.clone()))
            .patch(UpdateUser(self.change.clone()))
            .delete(DeleteUser(self.remove.clone()));
        let all =
            Router::with_path("users").get(GetUsers(self.list.clone())).post(CreateUser(self.add.clone()));
        let me = Router::with_path("me").get(GetMe { user: self.read.clone(), tenant: self.tenant.clone() });
        Router::new().push(all.push(one)).push(me)
    }
}

/// A member of a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "User"))]
pub(crate) struct UserView {
    id: String,
    email: String,
    display_name: String,
    /// `owner`, `admin`, `operator`, `member` or `viewer`.
    role: &'static str,
    /// `active` or `disabled`.
    status: &'static str,
    created_at: String,
    updated_at: String,
}

impl UserView {
    pub(crate) fn new(user: &User, membership: &Membership) -> Self {
        Self {
            id: user.id().to_string(),
            email: user.email().to_string(),
            display_name: user.display_name().to_string(),
            role: membership.role().as_str(),
            status: match user.status() {
                UserStatus::Active => "active",
                UserStatus::Disabled { .. } => "disabled",
            },
            created_at: instant(user.created_at()),
            updated_at: instant(user.updated_at()),
        }
    }
}

fn reply((user, membership): &Member) -> Reply<UserView> {
    Reply::ok(UserView::new(user, membership)).version(user.version())
}

fn added((user, membership): &Member) -> Reply<UserView> {
    let location = format!("/v1/users/{}", user.id());
    Reply::created(location, UserView::new(user, membership)).version(user.version())
}

/// A page of members.
#[derive(Debug, Serialize, ToSchema)]
struct UserPage {
    items: Vec<UserView>,
    /// Where the next page begins; none when this is the last.
    next_cursor: Option<String>,
}

/// Who joins.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// The address to sign in with.
    email: String,
    /// The name to show.
    display_name: String,
    /// `owner`, `admin`, `operator`, `member` or `viewer`; not above your own.
    role: String,
    /// The first password: 12 to 128 characters.
    password: String,
}

/// What is to change; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChange {
    /// The name to show.
    #[serde(default)]
    display_name: Option<String>,
    /// `owner`, `admin`, `operator`, `member` or `viewer`; not above your own.
    #[serde(default)]
    role: Option<String>,
    /// `active` or `disabled`.
    #[serde(default)]
    status: Option<Standing>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Standing {
    Active,
    Disabled,
}

/// Who is signed in, and where.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    user: UserView,
    tenant: TenantView,
}

struct GetMe {
    user: ReadUser,
    tenant: ReadTenant,
}

/// Who is signed in, and where
#[endpoint(operation_id = "get_me", tags("users"), security(["bearer" = []]),
    responses((status_code = 200, description = "The user and the tenant.", body = Me)))]
impl GetMe {
    async fn handle(&self, depot: &mut Depot) -> Result<Reply<Me>, Problem> {
        let principal = principal(depot)?;
        let (user, membership) = self.user.execute(principal, principal.user_id()).await?;
        let tenant = self.tenant.execute(principal).await?;
        Ok(Reply::ok(Me { user: UserView::new(&user, &membership), tenant: (&tenant).into() }))
    }
}

struct GetUsers(ListUsers);

/// A page of members
#[endpoint(operation_id = "list_users", tags("users"), security(["bearer" = []]),
    parameters(("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = UserPage)))]
impl GetUsers {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<UserPage>, Problem> {
        let (after, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, after, limit).await?;
        let items = page.items.iter().map(|(user, membership)| UserView::new(user, membership)).collect();
        Ok(Reply::ok(UserPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct CreateUser(AddUser);

/// Add a member
#[endpoint(operation_id = "create_user", tags("users"), security(["bearer" = []]), request_body = NewUser,
    responses((status_code = 201, description = "The member.", body = UserView)))]
impl CreateUser {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<UserView>, Problem> {
        let principal = principal(depot)?;
        let NewUser { email, display_name, role, password } = json(req).await?;
        let command = AddUserCommand {
            email: field("/email", &email)?,
            display_name: field("/display_name", &display_name)?,
            role: field("/role", &role)?,
            password,
        };
        answer(self.0.execute(principal, command, &once(depot, added)).await, added)
    }
}

struct GetUser(ReadUser);

/// A member
#[endpoint(operation_id = "get_user", tags("users"), security(["bearer" = []]),
    parameters(("user_id" = String, Path, description = "`user_…`")),
    responses((status_code = 200, description = "The member.", body = UserView)))]
impl GetUser {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<UserView>, Problem> {
        let id = id(req, "user_id", "user")?;
        Ok(reply(&self.0.execute(principal(depot)?, id).await?))
    }
}

struct UpdateUser(ChangeUser);

/// Change a member's name, role or standing
#[endpoint(operation_id = "update_user", tags("users"), security(["bearer" = []]), request_body = UserChange,
    parameters(("user_id" = String, Path, description = "`user_…`"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "The member as changed.", body = UserView)))]
impl UpdateUser {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<UserView>, Problem> {
        let (id, version) = (id(req, "user_id", "user")?, if_match(req)?);
        let UserChange { display_name, role, status } = json(req).await?;
        let command = ChangeUserCommand {
            display_name: display_name.map(|name| field("/display_name", &name)).transpose()?,
            role: role.map(|role| field("/role", &role)).transpose()?,
            is_active: status.map(|status| matches!(status, Standing::Active)),
        };
        Ok(reply(&self.0.execute(principal(depot)?, id, version, command).await?))
    }
}

struct DeleteUser(RemoveUser);

/// Remove a member, with every session
#[endpoint(operation_id = "delete_user", tags("users"), security(["bearer" = []]),
    parameters(("user_id" = String, Path, description = "`user_…`")))]
impl DeleteUser {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        let id = id(req, "user_id", "user")?;
        self.0.execute(principal(depot)?, id).await?;
        Ok(NoContent)
    }
}
