//! Rows of `model_providers`.

use chrono::{DateTime, Utc};
use powerhouse_domain::catalogue::{CatalogueModel, Provider, ProviderModels, ProviderSettings};
use powerhouse_domain::ids::{ModelProviderId, UserId};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::FromQueryResult;
use sea_orm::entity::prelude::*;

use super::{corrupt, signed, unsigned};

const TABLE: &str = "model_providers";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "model_providers")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) base_url: String,
    pub(crate) cache_prompts: bool,
    /// A list of [`CatalogueModel`].
    pub(crate) models: Json,
    pub(crate) created_by: Uuid,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) version: i64,
    /// The name of the secret that is its key.
    pub(crate) secret: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A provider, and the version of the secret that is its key.
#[derive(FromQueryResult)]
pub(crate) struct Keyed {
    #[sea_orm(nested)]
    provider: Model,
    secret_version: Option<i64>,
}

impl Keyed {
    /// The secret's version, as a column of providers.
    pub(crate) const VERSION: (&str, &str) = (
        "(SELECT s.version FROM secrets s WHERE s.tenant_id = model_providers.tenant_id AND s.name = model_providers.secret)",
        "secret_version",
    );

    pub(crate) fn into_domain(self) -> Result<(Provider, Option<u64>), StoreError> {
        let version =
            self.secret_version.map(|version| unsigned("secrets", "version", version)).transpose()?;
        Ok((self.provider.try_into()?, version))
    }
}

/// What changes of a provider.
pub(crate) fn changes(provider: &Provider) -> Result<ActiveModel, StoreError> {
    let ProviderSettings { kind, base_url, key, cache_prompts, models } = &provider.settings;
    let models =
        serde_json::to_value(models.as_slice()).map_err(|error| StoreError::Internal(error.into()))?;
    Ok(ActiveModel {
        kind: Set(kind.as_str().to_owned()),
        base_url: Set(base_url.as_str().to_owned()),
        cache_prompts: Set(*cache_prompts),
        models: Set(models),
        secret: Set(key.as_ref().map(ToString::to_string)),
        version: Set(signed(provider.version)),
        ..Default::default()
    })
}

impl TryFrom<Model> for Provider {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let models: Vec<CatalogueModel> =
            serde_json::from_value(row.models).map_err(corrupt(TABLE, "models"))?;
        Ok(Self {
            id: ModelProviderId::from_uuid(row.id),
            name: row.name.parse().map_err(corrupt(TABLE, "name"))?,
            settings: ProviderSettings {
                kind: row.kind.parse().map_err(corrupt(TABLE, "kind"))?,
                base_url: row.base_url.parse().map_err(corrupt(TABLE, "base_url"))?,
                key: row.secret.map(|name| name.parse()).transpose().map_err(corrupt(TABLE, "secret"))?,
                cache_prompts: row.cache_prompts,
                models: ProviderModels::new(models).map_err(corrupt(TABLE, "models"))?,
            },
            created_by: UserId::from_uuid(row.created_by),
            created_at: row.created_at,
            version: unsigned(TABLE, "version", row.version)?,
        })
    }
}
