//! Secrets: put in, never shown.

use powerhouse_domain::secrets::{Secret, SecretName, SecretValue};
use powerhouse_usecases::secrets::{ChangeSecret, CreateSecret, DeleteSecret, ListSecrets, ReadSecret};
use salvo::Router;
use salvo::oapi::{ToSchema, endpoint};
use salvo::prelude::{Depot, Request};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::body::{field, id, if_match, invalid, json, page};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{answer, once};
use crate::problem::Problem;
use crate::reply::{NoContent, Reply, instant};

/// What the slice uses.
#[derive(Clone)]
pub struct Secrets {
    /// Lists.
    pub list: ListSecrets,
    /// Reads what is told of one.
    pub read: ReadSecret,
    /// Puts in.
    pub create: CreateSecret,
    /// Gives other values.
    pub change: ChangeSecret,
    /// Removes.
    pub delete: DeleteSecret,
}

impl Secrets {
    pub(crate) fn guarded(&self) -> Router {
        let one = Router::with_path("{secret_name}")
            .get(GetSecret(self.read.clone()))
            .put(PutSecret(self.change.clone()))
            .delete(RemoveSecret(self.delete.clone()));
        Router::with_path("secrets")
            .get(GetSecrets(self.list.clone()))
            .post(PostSecret(self.create.clone()))
            .push(one)
    }
}

/// A text that must not be repeated, not even in the complaint that it is none.
fn unrepeated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    let text = String::deserialize(deserializer).map_err(|_| D::Error::custom("must be a text"))?;
    Ok(Zeroizing::new(text))
}

/// A new secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    /// What it is called: 1 to 63 lower-case letters, digits, `-` and `_`, the first a letter.
    #[salvo(schema(example = "crm-token"))]
    name: String,
    /// Its value, 8 to 16,384 bytes. It is never shown.
    #[serde(deserialize_with = "unrepeated")]
    #[salvo(schema(value_type = String, write_only))]
    value: Zeroizing<String>,
}

/// Another value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSecretValue {
    /// The value, 8 to 16,384 bytes. It is never shown.
    #[serde(deserialize_with = "unrepeated")]
    #[salvo(schema(value_type = String, write_only))]
    value: Zeroizing<String>,
}

/// All that is told of a secret.
#[derive(Debug, Serialize, ToSchema)]
#[salvo(schema(name = "Secret"))]
struct SecretView {
    name: String,
    /// Counts its values, from 1.
    version: u64,
    created_by: String,
    created_at: String,
    /// When it got the value that it has.
    updated_at: String,
}

impl From<&Secret> for SecretView {
    fn from(secret: &Secret) -> Self {
        Self {
            name: secret.name.to_string(),
            version: secret.version,
            created_by: secret.created_by.to_string(),
            created_at: instant(secret.created_at),
            updated_at: instant(secret.updated_at),
        }
    }
}

/// A page of secrets.
#[derive(Debug, Serialize, ToSchema)]
struct SecretPage {
    items: Vec<SecretView>,
    /// Where the next page begins; none when this is the last.
    next_cursor: Option<String>,
}

fn value(text: Zeroizing<String>) -> Result<SecretValue, Problem> {
    SecretValue::new(text).map_err(|error| invalid("/value", error))
}

fn reply(secret: &Secret) -> Reply<SecretView> {
    Reply::ok(SecretView::from(secret)).version(secret.version)
}

fn created(secret: &Secret) -> Reply<SecretView> {
    Reply::created(format!("/v1/secrets/{}", secret.name), SecretView::from(secret)).version(secret.version)
}

fn name(req: &Request) -> Result<SecretName, Problem> {
    id(req, "secret_name", "secret")
}

struct GetSecrets(ListSecrets);

/// A page of secrets by their names, without their values
#[endpoint(operation_id = "list_secrets", tags("secrets"), security(["bearer" = []]),
    parameters(("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = SecretPage)))]
impl GetSecrets {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<SecretPage>, Problem> {
        let (after, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, after, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(SecretPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct PostSecret(CreateSecret);

/// Put a secret in; its value is never shown again
///
/// Tools of the tenant name it where they need it. It is put into their requests as these leave, and nowhere else.
#[endpoint(operation_id = "create_secret", tags("secrets"), security(["bearer" = []]), request_body = NewSecret,
    responses((status_code = 201, description = "What is told of the secret.", body = SecretView)))]
impl PostSecret {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<SecretView>, Problem> {
        let body: NewSecret = json(req).await?;
        let (name, value) = (field("/name", &body.name)?, value(body.value)?);
        let done = self.0.execute(principal(depot)?, name, &value, &once(depot, created)).await;
        answer(done, created)
    }
}

struct GetSecret(ReadSecret);

/// What is told of a secret: not its value
#[endpoint(operation_id = "get_secret", tags("secrets"), security(["bearer" = []]),
    parameters(("secret_name" = String, Path, description = "The secret's name")),
    responses((status_code = 200, description = "What is told of the secret.", body = SecretView)))]
impl GetSecret {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<SecretView>, Problem> {
        Ok(reply(&self.0.execute(principal(depot)?, name(req)?).await?))
    }
}

struct PutSecret(ChangeSecret);

/// Give a secret another value, for every use from now on
#[endpoint(operation_id = "update_secret", tags("secrets"), security(["bearer" = []]), request_body = NewSecretValue,
    parameters(("secret_name" = String, Path, description = "The secret's name"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status_code = 200, description = "What is told of the secret.", body = SecretView)))]
impl PutSecret {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<SecretView>, Problem> {
        let (name, version) = (name(req)?, if_match(req)?);
        let body: NewSecretValue = json(req).await?;
        let value = value(body.value)?;
        Ok(reply(&self.0.execute(principal(depot)?, name, version, &value).await?))
    }
}

struct RemoveSecret(DeleteSecret);

/// Remove a secret; what uses it fails from now on
#[endpoint(operation_id = "delete_secret", tags("secrets"), security(["bearer" = []]),
    parameters(("secret_name" = String, Path, description = "The secret's name"),
               ("If-Match" = Option<String>, Header, description = "The ETag that was read")))]
impl RemoveSecret {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        let (name, version) = (name(req)?, if_match(req)?);
        self.0.execute(principal(depot)?, name, version).await?;
        Ok(NoContent)
    }
}
